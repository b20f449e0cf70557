"""Secrets in every form: masked, with nothing else changed (S-11)."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgflow_yaml.worker.calls.boundary import clean
from pgflow_yaml.worker.calls.masks import MOST_VALUES, MaskingFilter, Masks, masks

SECRET = 'p4ss "wörd" \\/+?'
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"


def masking(*values: str) -> Masks:
    own_masks = Masks()
    for value in values:
        own_masks.add(value)
    return own_masks


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        repr(SECRET),
        str(KeyError(SECRET)),
        ascii(SECRET),
        repr(SECRET.encode()),
        html.escape(SECRET),
        html.escape(SECRET, quote=False),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(json.dumps({"a": SECRET})),
        json.dumps(json.dumps({"a": SECRET}, ensure_ascii=False), ensure_ascii=False),
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote_plus(SECRET),
        urllib.parse.urlencode({"token": SECRET}),
        re.sub("%..", lambda match: match[0].lower(), urllib.parse.quote(SECRET, safe="")),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"ab:{SECRET}".encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(f"u:{SECRET} and more".encode()).decode(),
    ],
)
def test_a_secret_is_masked_however_it_is_written(shown: str) -> None:
    """As it is, quoted by Python, JSON or a URL, in base64 with anything before it."""
    masked = masking(SECRET).text(f"before {shown} after")

    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert "***" in masked
    assert not any(part in masked for part in ("p4ss", "cDRzcy", "A0c3Mg", "NHNz"))


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(["S3cret", "value!", "S3", "et", "s3crEtval", "x", "\n"]), max_size=8)
)
def test_a_secret_in_parts_is_masked_like_a_whole_one(parts: list[str]) -> None:
    """What is shown at once and what is kept back until the next part are the same text."""
    own_masks, shown, end = masking("S3cretvalue!"), "", ""
    for part in parts:
        now, end = own_masks.split(end + part)
        shown += now

    assert shown + own_masks.text(end) == own_masks.text("".join(parts))


def test_only_the_beginning_of_a_secret_is_kept_back() -> None:
    """Of any form; a line is not, though a form may begin with its break."""
    own_masks = masking("\nS3cret/value!", "S3cret/value!longer")

    assert own_masks.split("a prompt: ") == ("a prompt: ", "")
    assert own_masks.split("a line\n") == ("a line\n", "")
    assert own_masks.split("as S3cre") == ("as ", "S3cre")
    assert own_masks.split("as s3cret%2") == ("as ", "s3cret%2")
    assert own_masks.split("S3cret/value!") == ("", "S3cret/value!")
    assert own_masks.split("S3cret/value!x") == ("***x", "")


@pytest.mark.parametrize("shown", [SECRET.upper(), SECRET.title(), json.dumps(SECRET.upper())])
def test_a_secret_in_another_case_is_masked(shown: str) -> None:
    """In texts and in outputs."""
    own_masks = masking(SECRET)
    assert "P4SS" not in own_masks.text(shown).upper()
    assert "P4SS" not in own_masks.json_text(json.dumps({"out": shown}, ensure_ascii=False)).upper()


@settings(deadline=None)
@given(prefix=st.binary(max_size=5), suffix=st.binary(max_size=5), value=st.text(min_size=8))
def test_base64_is_known_at_any_offset(prefix: bytes, suffix: bytes, value: str) -> None:
    """Only the neighbours and less than one character of the value remain beside the mask."""
    try:
        data = value.encode()
    except UnicodeEncodeError:
        return
    if len(value.strip()) < 8 or len(value.splitlines()) > 1:
        return
    shown = base64.b64encode(prefix + data + suffix).decode()

    masked = masking(value).text(shown)

    assert "***" in masked
    assert len(masked) - 3 <= (len(prefix) + len(suffix)) * 4 / 3 + 8


def test_json_stays_json() -> None:
    """Texts, keys and numbers that show a secret change, their neighbours do not."""
    own_masks = masking("12345678", SECRET)
    value = {"n": [112345678, 5, 1.5, None, True], SECRET: {"deep": f"a {SECRET}"}, "big": 10**30}
    for text in (SECRET, repr(SECRET), json.dumps({"a": SECRET}), urllib.parse.quote(SECRET)):
        assert "***" in own_masks.json_text(json.dumps([text], ensure_ascii=False))

    masked = own_masks.json_text(json.dumps(value, ensure_ascii=False))

    expected = {"n": ["1***", 5, 1.5, None, True], "***": {"deep": "a ***"}, "big": 10**30}
    assert json.loads(masked) == expected
    assert own_masks.json_text('{"a":1.50}') == '{"a":1.50}'


def test_each_line_of_a_long_key_is_masked() -> None:
    """But for the lines that every such key begins and ends with."""
    own_masks = masking(PEM)

    assert own_masks.text(PEM) == "***"
    assert own_masks.text("line MIIEvQIBADANBgkq here") == "line *** here"
    assert own_masks.text("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


def test_a_short_value_is_left_alone() -> None:
    """It occurs by chance in texts without secrets."""
    assert masking("1234567", "", "yes").text("yes, 1234567") == "yes, 1234567"


def test_a_secret_inside_another_leaves_nothing_of_the_longer_one() -> None:
    """The longest is searched for first."""
    assert masking("abcdefgh", "abcdefgh-more-of-it").text("x abcdefgh-more-of-it") == "x ***"


def test_the_oldest_values_are_forgotten() -> None:
    """A provider that gives a new value each time does not slow the worker down for ever."""
    own_masks = masking(*(f"value-{number:06}" for number in range(MOST_VALUES + 1)))

    assert own_masks.text("value-000000") == "value-000000"
    assert own_masks.text(f"value-{MOST_VALUES:06}") == "***"
    own_masks.add("value-000001")
    own_masks.add("another-value")
    assert own_masks.text("value-000001 value-000002") == "*** value-000002"


def test_a_message_is_masked_before_it_is_cut() -> None:
    """Half a secret at the end of a text would not be known as one."""
    masks.add("a-secret-for-the-cut")

    assert clean("x" * 10 + "a-secret-for-the-cut", limit=20) == "x" * 10 + "***"


def test_log_records_are_masked_with_their_exceptions(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the secret comes in as an argument, or in the text of an exception."""
    masks.add("a-secret-for-the-log")
    log = logging.getLogger("pgflow_yaml.test_masks")
    log.addFilter(MaskingFilter())

    try:
        int("a-secret-for-the-log")
    except ValueError:
        log.exception("token %s", "a-secret-for-the-log")

    assert "token ***" in caplog.text
    assert "int() with base 10: '***'" in caplog.text
    assert "a-secret" not in caplog.text
