"""`docs/how-to/coming-from.md`: their examples are well-formed, our keys exist."""

from __future__ import annotations

import json
import re
from typing import get_args

import pytest
import yaml

from pgflow_yaml.language import vocabulary
from pgflow_yaml.language.vocabulary import later_keys
from tests.docs.fenced import ROOT, Block, blocks

FILE = ROOT / "docs" / "how-to" / "coming-from.md"
PAGE = FILE.read_text(encoding="utf-8")
ROWS = [
    (theirs.replace("\\|", "|"), ours)
    for theirs, ours in re.findall(r"^\| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
]
WORDS = [(word, ours) for theirs, ours in ROWS for word in re.findall(r"`([^`]+)`", theirs)]
# Kinds and values of other tools, which are no keys; words that mean the same here; what a reader
# of the page needs, and no file of theirs holds as a key.
NO_KEYS = frozenset(
    [
        "2-build",
        "WorkflowTemplate",
        "Sequential",
        "Parallel",
        "Dag",
        "If",
        "Switch",
        "Task",
        "Choice",
        "Map",
        "Wait",
        "Pass",
        "Fail",
        "Retry",
        "Assign",
        "StartAt",
        "End",
        "PythonOperator",
        "BashOperator",
        "HttpOperator",
        "SQLExecuteQueryOperator",
        "Commands",
        "ShortCircuitOperator",
        "TriggerDagRunOperator",
        "SendTaskSuccess",
        "all_done",
        "all_failed",
        "none_failed_min_one_success",
        "one_success",
        "one_failed",
        "steps",
        "finally",
        "labels",
        "timeout",
        "retry",
        "if",
        "retryStrategy",
        "uses",
    ]
)
OF_A_TEMPLATE = ("outputs.parameters", "outputs.result")  # keys of Argo below a template
THEIRS = blocks("yml", [FILE]) + blocks("json", [FILE])


@pytest.mark.parametrize("block", THEIRS, ids=[block.position for block in THEIRS])
def test_their_examples_are_well_formed(block: Block) -> None:
    """The files of other engines parse as YAML or JSON."""
    load = json.loads if block.language == "json" else yaml.safe_load

    assert load(block.text)


def test_every_key_of_ours_exists() -> None:
    """The schema knows each of our keys in the right-hand columns, and none is reserved."""
    schema = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text(encoding="utf-8"))
    definitions = schema["definitions"]
    known = {*schema["properties"], *definitions["step"]["properties"], "x-"}
    rows = re.findall(r"^\| .+? \| (.+) \|$", PAGE, re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`([a-z][a-z_]+)(?:: |`)", row)}
    ours = {word for word in named if word in known or "_" in word}
    later = {*later_keys("flow"), *later_keys("step")}
    retry = set(definitions["retry"]["properties"])

    assert len(ours) > 20
    assert ours - known - retry == set()
    assert not ours & later


def test_every_key_of_theirs_is_answered_with_ours() -> None:
    """`validate` and the page say the same of a key, where the page has one."""
    keys = {
        (match[1], ours)
        for word, ours in WORDS
        if (match := re.fullmatch(r"([\w-]+)(: .+)?", word))
    }
    asked = {(key, ours) for key, ours in keys if key not in NO_KEYS}

    assert len(asked) > 70
    assert {key for key, ours in asked if not _is_answered(key, ours)} == set()


def _is_answered(key: str, ours: str) -> bool:
    """Return true if the key is one of ours, or is answered with a word of the page."""
    for level in get_args(vocabulary.Level):
        foreign = vocabulary.foreign(level, key)
        if foreign is not None and re.search(rf"\b{foreign[0]}\b", ours):
            return True
        if vocabulary.elsewhere(level, key) is not None:
            return True
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower() in ours


def test_every_path_and_call_of_theirs_is_answered_with_ours() -> None:
    """What the page says of an expression, `validate` says of it in a file."""
    answered = 0
    for word, ours in WORDS:
        text = re.sub(r"^(if: )?[$]?(\{\{ ?)?| ?\}\}$", "", word)
        call = re.fullmatch(r"(\w+)\(.*\)", text)
        path = re.fullmatch(r"[a-z]\w*(\.\w+)+", text)
        known = None
        if call is not None:
            known = vocabulary.foreign_function(call[1])
        elif path is not None and (found := vocabulary.foreign_path(text.split("."))):
            count, known = found
            known += "".join(f".{key}" for key in text.split(".")[count:] if " " not in known)
        if known is None or text in OF_A_TEMPLATE:
            continue
        answered += 1
        names = re.findall(r"`\$?(?:\{\{ )?([\w.]+)", ours)
        assert any(name.split(":")[0] in known for name in names), word

    assert answered >= 10


@pytest.mark.parametrize("text", ["needs.a.result", "outputs.a.value", "matrix.x", "env.X"])
def test_a_name_of_theirs_alone_or_with_more_behind_it_is_known(text: str) -> None:
    """Each beginning of the path is answered, and never with half a path."""
    words = [*text.split("."), "more"]
    for count in range(1, len(words) + 1):
        found = vocabulary.foreign_path(words[:count])
        assert found is not None
        assert ".." not in found[1]
