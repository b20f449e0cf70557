"""The streams for handlers: nothing that they print steers a terminal or a CI service."""

from __future__ import annotations

import io
import sys
import threading
from typing import TYPE_CHECKING, cast

import pytest

from pgflow_yaml.worker.calls.masks import Masks
from pgflow_yaml.worker.streams import Speaker, handler_streams, speaker
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.worker.task import Task


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def printed(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, say: Callable[[], object], service: str
) -> str:
    """What a stream got of what a handler said, in a job of a CI service or outside."""
    for name in ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"):
        monkeypatch.delenv(name, raising=False)
    if service:
        monkeypatch.setenv(service, "true")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    with handler_streams():
        say()
    return stream.getvalue()


def in_parts(*parts: str) -> Callable[[], object]:
    """A handler that writes one line in several parts, to either stream in turn."""
    return lambda: [
        (sys.stdout, sys.stderr)[number % 2].write(part) for number, part in enumerate(parts)
    ]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[31mred\x1b[0m\n", "red\n"),
        ("\x1b]0;title\x07text\n", "text\n"),
        ("10 %\r20 %\r\n", "10 %\n20 %\n"),
        ("a\tb \u202eabc\n", "a    b abc\n"),
    ],
)
def test_a_terminal_gets_text_without_control_sequences(
    monkeypatch: pytest.MonkeyPatch, said: str, shown: str
) -> None:
    """A pipe gets what was printed."""
    assert printed(monkeypatch, Terminal(), in_parts(said), "") == shown
    assert printed(monkeypatch, io.StringIO(newline=""), in_parts(said), "") == said


@pytest.mark.parametrize("service", ["GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"])
@pytest.mark.parametrize(
    ("parts", "shown"),
    [
        (["::error::x\n"], ": :error::x\n"),
        (["  ::add-mask::x\n"], "  : :add-mask::x\n"),
        (["fine\n::error::x\n"], "fine\n: :error::x\n"),
        ([":", ":error::x", "\n"], ": :error::x\n"),
        (["a ##[group]b\n", "##vso[task]c\n"], "a ## [group]b\n##vso [task]c\n"),
        (["x" * 40 + "#", "#team", "city[a]\n"], "x" * 40 + "##teamcity [a]\n"),
        (["std::vector a::b ## [x]\n"], "std::vector a::b ## [x]\n"),
    ],
)
def test_a_print_is_no_command_of_a_ci_service(
    monkeypatch: pytest.MonkeyPatch, parts: list[str], shown: str, service: str
) -> None:
    """Whole or in parts, on one stream or on both: the log shows it, and the service ignores it."""
    assert printed(monkeypatch, io.StringIO(), in_parts(*parts), service) == shown
    assert printed(monkeypatch, io.StringIO(), in_parts(*parts), "") == "".join(parts)


def test_bytes_of_a_character_may_come_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are taken for text where text is changed."""

    def say() -> None:
        for byte in "::Größe\n".encode():
            sys.stdout.buffer.write(bytes([byte]))

    assert printed(monkeypatch, io.StringIO(), say, "GITHUB_ACTIONS") == ": :Größe\n"
    assert printed(monkeypatch, Terminal(), say, "") == "::Größe\n"


@pytest.fixture(autouse=True)
def own_masks(monkeypatch: pytest.MonkeyPatch) -> Masks:
    """The masks of this test: other tests of the process have added their secrets to its own."""
    masks = Masks()
    monkeypatch.setattr("pgflow_yaml.worker.streams.masks", masks)
    return masks


@pytest.fixture
def secret(own_masks: Masks) -> str:
    """A secret that is masked in this test."""
    own_masks.add("S3cret/value!")
    return "S3cret/value!"


def test_a_secret_is_masked_in_any_number_of_parts(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    """By threads that take turns, and as bytes; what only begins like one is there at the end."""
    turn = threading.Barrier(2, timeout=20)

    def say(last: str) -> None:
        for character in f"<{secret}>{last}":
            turn.wait()
            sys.stdout.write(character)

    def all_say() -> None:
        other = threading.Thread(target=say, args=("b",))
        other.start()
        say("b")
        other.join()
        for byte in f"[{secret}]".encode():
            sys.stdout.buffer.write(bytes([byte]))
        sys.stdout.write("S3cret/valu")

    text = printed(monkeypatch, io.StringIO(), all_say, "")

    assert sorted(text.removesuffix("[***]S3cret/valu")) == sorted("<***>b" * 2)


def test_a_prompt_is_shown_after_a_moment(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """Its end may be the beginning of a secret, by chance; a longer beginning waits for the end."""
    stream = io.StringIO()

    def say() -> None:
        sys.stdout.write("are you sure? y/s")
        eventually(lambda: stream.getvalue() == "are you sure? y/s")
        sys.stdout.write("S3cret")
        assert stream.getvalue() == "are you sure? y/s"

    assert printed(monkeypatch, stream, say, "") == "are you sure? y/sS3cret"


def test_a_secret_at_the_end_of_a_long_line_is_masked(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    """A call that prints no line break is shown in portions."""
    call = Speaker(cast("Task", FakeTask("pay")))

    def say() -> None:
        token = speaker.set(call)
        sys.stdout.write("x" * 65_536 + secret[:5])
        sys.stdout.write(secret[5:])
        speaker.reset(token)
        call.end()

    assert printed(monkeypatch, io.StringIO(), say, "") == f"pay | {'x' * 65_536}\npay | ***\n"


class FakeTask:
    """A task as far as its prints need it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def label(self) -> str:
        """Its step."""
        return self.name


def test_lines_of_calls_are_whole_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls that print at the same time do not mix; an unfinished line ends with its call."""
    first, second = (Speaker(cast("Task", FakeTask(name))) for name in ("fetch[3]", "pay"))

    def say() -> None:
        sys.stdout.write("outside\n")
        for call, text in ((first, "a"), (second, "b\nc"), (first, "\n\nd"), (second, "\r\ne\r")):
            token = speaker.set(call)
            sys.stdout.write(text)
            speaker.reset(token)
        first.end()
        second.end()

    text = printed(monkeypatch, io.StringIO(), say, "")

    lines = ["pay | b", "fetch[3] | a", "fetch[3] | ", "pay | c\r", "pay | e\rfetch[3] | d", ""]
    assert text.split("\n") == ["outside", *lines]
