"""Signatures of webhooks: those that `openssl` makes are good, and nothing else is."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from typing import TypeAlias

import pytest

from pgflow_yaml.web.signatures import WINDOW, is_signed, message_id

SECRET = "a secret of words"
NOW = 1_700_000_000
BODY = '{"id": 7, "note": "Grüße"}\n'.encode()
Sign: TypeAlias = Callable[..., dict[str, str]]
IN_BASE64 = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def openssl(key: bytes, content: bytes) -> bytes:
    """Sign with a program that is not ours."""
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}"]
    done = subprocess.run([*command, "-binary"], input=content, capture_output=True, check=True)
    return done.stdout


def github(body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    """The header that GitHub sends."""
    return {"x-hub-signature-256": f"sha256={openssl(secret.encode(), body).hex()}"}


def stripe(body: bytes = BODY, at: str = str(NOW), secret: str = SECRET) -> dict[str, str]:
    """The header that Stripe sends."""
    signed = openssl(secret.encode(), f"{at}.".encode() + body).hex()
    return {"stripe-signature": f"t={at},v0={'0' * 64},v1={signed}"}


def standard(
    body: bytes = BODY, at: str = str(NOW), key: bytes = SECRET.encode(), message: str = "msg_1"
) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    signed = base64.b64encode(openssl(key, f"{message}.{at}.".encode() + body)).decode()
    return {
        "webhook-id": message,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{signed}",
    }


FORMS = [github, stripe, standard]
TIMED = [stripe, standard]


@pytest.mark.parametrize("sign", FORMS)
def test_a_signature_of_openssl_is_good(sign: Sign) -> None:
    """All three forms."""
    assert is_signed(SECRET, sign(), BODY, NOW)


def test_the_example_of_the_specification_is_good() -> None:
    """A secret `whsec_` holds the key in base64, and this vector was computed by its authors."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    assert is_signed(f"whsec_{IN_BASE64}", headers, b'{"test": 2432232314}', 1_614_265_330)


@pytest.mark.parametrize("sign", FORMS)
def test_one_changed_byte_or_another_secret_makes_it_wrong(sign: Sign) -> None:
    """At the beginning, in the middle and at the end of the body, or one more or less."""
    headers = sign()

    for at in (0, len(BODY) // 2, len(BODY) - 1):
        changed = BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :]
        assert not is_signed(SECRET, headers, changed, NOW)
    for body in (BODY[:-1], BODY + b" ", b""):
        assert not is_signed(SECRET, headers, body, NOW)
    for secret in (SECRET + " ", SECRET[:-1], "whsec_", "x"):
        assert not is_signed(secret, headers, BODY, NOW)


@pytest.mark.parametrize("sign", FORMS)
def test_each_header_of_a_signature_counts(sign: Sign) -> None:
    """Without it, with another value, or sent twice it is wrong."""
    headers = sign()

    for name, value in headers.items():
        others = {key: text for key, text in headers.items() if key != name}
        assert not is_signed(SECRET, others, BODY, NOW)
        for wrong in ("", "é", value[:-1], value + "0", f"{value}, {value}", "v1,", "sha256="):
            repeated = name == "webhook-signature" and wrong == f"{value}, {value}"
            changed = is_signed(SECRET, {**headers, name: wrong}, BODY, NOW)
            assert changed == repeated, (name, wrong)  # a list may hold it twice


@pytest.mark.parametrize("sign", TIMED)
def test_a_signature_is_good_for_five_minutes(sign: Sign) -> None:
    """Before and after the time that it names, by either clock."""
    headers = sign()

    for late in (-WINDOW, -1, 0, 1, WINDOW):
        assert is_signed(SECRET, headers, BODY, NOW + late)
    for late in (-WINDOW - 1, WINDOW + 1, 86_400, -NOW):
        assert not is_signed(SECRET, headers, BODY, NOW + late)


@pytest.mark.parametrize("sign", TIMED)
@pytest.mark.parametrize("moment", ["", "-5", "1e9", " 1700000000", "١٧", "9" * 5000, "soon"])
def test_a_time_that_is_none_is_wrong(sign: Sign, moment: str) -> None:
    """Signed or not: only seconds count."""
    assert not is_signed(SECRET, sign(at=moment), BODY, NOW)


def test_an_id_with_a_dot_is_wrong() -> None:
    """It could be read as a part of what follows."""
    assert is_signed(SECRET, standard(message="a-b_c"), BODY, NOW)
    assert not is_signed(SECRET, standard(message="a.b"), BODY, NOW)
    assert not is_signed(SECRET, standard(message=""), BODY, NOW)


def test_one_good_signature_among_several_is_enough() -> None:
    """Senders that change their secret sign with both."""
    old, new = standard(key=b"old"), standard()
    both = f"v1a,xyz {old['webhook-signature']} {new['webhook-signature']}"
    parts = stripe()["stripe-signature"].split(",")

    assert is_signed(SECRET, {**new, "webhook-signature": both}, BODY, NOW)
    assert is_signed(
        SECRET, {"stripe-signature": ",".join([parts[0], "v1=00", parts[2]])}, BODY, NOW
    )
    twice = {"stripe-signature": ",".join([parts[0], f"t={NOW + 1}", parts[2]])}
    assert not is_signed(SECRET, twice, BODY, NOW)


def test_a_weaker_form_does_not_stand_in_for_a_wrong_one() -> None:
    """The form with a time counts where it is there."""
    assert not is_signed(SECRET, {**github(), **stripe(), "webhook-signature": "v1,x"}, BODY, NOW)
    assert not is_signed(SECRET, {**github(), "stripe-signature": "t=1,v1=x"}, BODY, NOW)


def test_only_an_id_that_was_signed_names_a_message() -> None:
    """With GitHub's form anybody who has a request could write one."""
    assert message_id(standard(message="msg_2")) == "msg_2"
    assert message_id({**github(), "webhook-id": "msg_2"}) is None
