"""What `make audit` finds in the reports of its tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.audit.run import bad_licences, missing_parts, vulnerabilities


@pytest.mark.parametrize(
    ("licence", "is_bad"),
    [
        ("MIT", False),
        ("LGPL-3.0-only", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("GPL-2.0-only OR BSD-3-Clause", False),
        ("GPL-3.0-or-later", True),
        ("MIT AND AGPL-3.0-only", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("GNU Affero General Public License v3", True),
        ("UNKNOWN", True),
    ],
)
def test_strong_copyleft_and_no_licence_are_found(licence: str, *, is_bad: bool) -> None:
    """Wherever the package states it; a choice is ours."""
    kinds = dict.fromkeys(("License-Expression", "License-Metadata"), "UNKNOWN")
    package = kinds | {"Name": "thing", "License-Classifier": licence}

    assert bool(list(bad_licences([package]))) is is_bad


def test_an_empty_list_of_parts_is_found() -> None:
    """Names are compared as an index does."""
    sbom = {"components": [{"name": "PyYAML"}, {"name": "typing_extensions"}]}

    assert list(missing_parts(sbom, ["pyyaml", "typing-extensions"])) == []
    assert list(missing_parts({}, ["pyyaml"])) == ["pyyaml is not in the SBOM"]


@pytest.mark.parametrize(
    ("report", "problems"),
    [
        ("", ["skipped: no vulnerability could be looked up: cannot connect"]),
        ([{"name": "a", "skip_reason": "not found"}], ["skipped: no vulnerability could be"]),
        (
            [
                {"name": "pgflow_yaml", "skip_reason": "not found"},
                {"name": "a", "version": "1", "vulns": []},
                {"name": "b", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["2.1"]}]},
                {"name": "c", "skip_reason": "not found"},
            ],
            ["b 2 has the vulnerability X-1, fixed in 2.1", "skipped: c: not found"],
        ),
    ],
    ids=["no report", "nothing found", "advisories"],
)
def test_what_could_not_be_asked_is_said(report: Any, problems: list[str]) -> None:
    """A look-up that found no index is no clean bill."""
    text = report if isinstance(report, str) else json.dumps({"dependencies": report})

    found = list(vulnerabilities(text, "a trace\ncannot connect\n"))

    assert [a.startswith(b) for a, b in zip(found, problems, strict=True)] == [True] * len(problems)
