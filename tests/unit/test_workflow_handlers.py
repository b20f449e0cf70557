"""The handlers of `workflows/`: ordinary functions, so they are tested as such."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from workflows.bulk import handlers as bulk
from workflows.census import handlers as census
from workflows.checks import handlers as checks
from workflows.diamond import handlers as diamond

POEM = "The river is wide. The river is deep and the river is very cold today! It ends.\n"

SOURCE = '''"""A module."""
# one comment
class Tree:
    def grow(self, rain, sun):
        """Grow."""
        if rain and sun or self:
            for _ in range(3):
                pass  # another

async def wait():
    def inner():
        return 1
    return inner
'''


@dataclass(frozen=True)
class AnAttempt:
    """Context with the fields that `drill` needs."""

    attempt: int


def a_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a sub-package that must never be imported, in a folder on `sys.path`."""
    root = folder / "orchard"
    (root / "sub").mkdir(parents=True)
    for name in ("__init__.py", "tree.py", "sub/__init__.py", "sub/leaf.py"):
        (root / name).write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(folder))
    return root


# --- diamond ---------------------------------------------------------------------------------


def test_fetch_reads_a_file(tmp_path: Path) -> None:
    """A path gives the file's text, without the NUL that the database could not store."""
    path = tmp_path / "poem.txt"
    path.write_text("a\0b\n")

    assert diamond.fetch(str(path)) == {"name": "poem", "path": str(path), "text": "ab\n"}


def test_fetch_reads_a_module_by_name() -> None:
    """A module's name gives its source."""
    assert diamond.fetch("this")["text"].startswith('s = """Gur Mra bs Clguba')


@pytest.mark.parametrize("source", ["no_such_module", "sys", "os.path", "no/such/file", ""])
def test_fetch_refuses_what_has_no_text(source: str) -> None:
    """Neither a file nor a module with source: one sentence that names it."""
    with pytest.raises(FileNotFoundError, match="neither a text file nor a Python module"):
        diamond.fetch(source)


def test_fetch_refuses_a_text_that_is_too_long(tmp_path: Path) -> None:
    """A text past the limit is refused before it is read, with its size."""
    path = tmp_path / "long.txt"
    path.write_bytes(b"x" * (diamond.MAX_BYTES + 1))

    with pytest.raises(ValueError, match="1,000,001 bytes"):
        diamond.fetch(str(path))


def test_analyze_counts_words() -> None:
    """Lines, words, different words, the longest and the most common ones are right."""
    result = diamond.analyze({"fetch": {"name": "poem", "path": "", "text": POEM}})

    assert (result["lines"], result["words"], result["different"]) == (1, 17, 11)
    assert result["longest"] == "today"
    assert result["most_common"][0] == ("river", 3)
    assert ("the", 3) not in result["most_common"]


def test_analyze_of_nothing_is_zero() -> None:
    """An empty text divides nothing by nothing."""
    result = diamond.analyze({"fetch": {"name": "", "path": "", "text": ""}})

    assert (result["words"], result["mean_length"], result["longest"]) == (0, 0.0, "")


def test_summarize_keeps_the_order_of_the_text() -> None:
    """The best sentences come in the order in which they stand; short ones never come."""
    text = "Cold rain fell on the old town. It ends. Later the rain made the cold river rise."

    assert diamond.summarize(text, 2) == [
        "Cold rain fell on the old town.",
        "Later the rain made the cold river rise.",
    ]
    assert diamond.summarize(text, 1) == ["Later the rain made the cold river rise."]
    assert diamond.summarize("x = y[0] if z else {1: 2} or w[3:4] == 9 and 1", 5) == []


def test_save_writes_the_same_files_again(tmp_path: Path) -> None:
    """A second attempt at the same report changes nothing and leaves no other file behind."""
    statistics = diamond.analyze({"fetch": {"name": "poem", "path": "", "text": POEM}})

    saved = [
        diamond.save(
            title="Poem",
            name="a poem",
            statistics=statistics,
            summary=["One."],
            folder=str(tmp_path),
        )
        for _ in range(2)
    ]

    assert saved[0] == saved[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "diamond-a_poem.json",
        "diamond-a_poem.md",
    ]
    assert "| river | 3 |" in Path(saved[0]["report"]).read_text()
    assert json.loads(Path(saved[0]["data"]).read_text())["summary"] == ["One."]


# --- bulk ------------------------------------------------------------------------------------


def test_fetch_lists_files_up_to_the_limit(tmp_path: Path) -> None:
    """Files by name, folders left out, at most `limit`."""
    for name in ("c.py", "a.py", "b.py", "d.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.py").mkdir()

    listing = bulk.fetch(str(tmp_path), "*.py", 2)

    assert listing["files"] == [str(tmp_path / "a.py"), str(tmp_path / "b.py")]


def test_fetch_looks_through_the_standard_library_by_default() -> None:
    """Without a folder, the files are those beside `os`."""
    assert any(file.endswith("abc.py") for file in bulk.fetch("", "*.py", 50)["files"])


def test_fetch_refuses_a_folder_that_is_none(tmp_path: Path) -> None:
    """A folder that does not exist is an error, not an empty list."""
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        bulk.fetch(str(tmp_path / "nowhere"), "*", 1)


def test_measures_add_up(tmp_path: Path) -> None:
    """Sums, order by size, and groups of files with the same content."""
    for name, content in {"a": b"1\n", "b": b"22\n22\n", "c": b"1\n"}.items():
        (tmp_path / name).write_bytes(content)
    files = bulk.fetch(str(tmp_path), "*", 9)["files"]

    measures = bulk.measure_all(files)
    total = bulk.aggregate(measures, 1)

    assert measures[0]["sha256"] == hashlib.sha256(b"1\n").hexdigest()
    assert (total["files"], total["size"], total["lines"]) == (3, 10, 4)
    assert total["packed"] == sum(entry["packed"] for entry in measures)
    assert total["largest"] == [files[1]]
    assert total["same"] == [[files[0], files[2]]]


def test_no_measures_add_up_to_nothing() -> None:
    """An empty folder has a total too."""
    assert bulk.aggregate([], 5)["ratio"] == 0.0


# --- checks ----------------------------------------------------------------------------------


def test_facts_name_this_python() -> None:
    """The version is the running interpreter's."""
    result = checks.facts()["python"]

    assert (result["major"], result["minor"]) == sys.version_info[:2]
    assert set(checks.versions()) == {"python", "sqlite"}


def test_memory_is_within_the_machine() -> None:
    """Available memory is at most the total."""
    if sys.platform != "linux":
        pytest.skip("needs /proc/meminfo")

    result = checks.memory()

    assert 0 < result["available_mb"] <= result["total_mb"]


def test_disk_refuses_too_little_room(tmp_path: Path) -> None:
    """More than any disk has is an error that says how much there is."""
    assert checks.disk(str(tmp_path), 0)["free_mb"] >= 0
    with pytest.raises(OSError, match="MB of room"):
        checks.disk(str(tmp_path), 10**12)


def test_drill_fails_as_often_as_told() -> None:
    """Two failures, then success at the third attempt."""
    for attempt in (1, 2):
        with pytest.raises(ConnectionError, match=f"failure {attempt} of 2"):
            checks.drill(AnAttempt(attempt), 2)
    assert checks.drill(AnAttempt(3), 2) == {"attempts": 3}


def test_service_connects_or_raises() -> None:
    """A port that listens answers; the same port once closed does not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        result = asyncio.run(checks.service(address))
    assert result["address"] == address
    with pytest.raises(OSError, match="Connect call failed"):
        asyncio.run(checks.service(address))


def test_database_and_its_speed() -> None:
    """Rows are counted, and a speed reads as text."""
    assert checks.database(100)["rows"] == 100
    assert checks.speed(1234567.8) == "1,234,568 rows a second"


def test_a_clock_that_stands_still_is_an_error() -> None:
    """Less time than was waited for cannot have passed."""
    now = checks.clock()

    assert checks.clock_again(now - 5, 5) >= 5
    with pytest.raises(RuntimeError, match="have passed"):
        checks.clock_again(now, 60)


def test_report_sorts_the_checks() -> None:
    """Every check is in the list of its outcome."""
    result = checks.report(
        machine="m",
        statuses={"a": "completed", "b": "skipped", "c": "completed"},
        free_mb=1,
        drill_attempts=3,
        service_problem="none",
    )

    assert (result["passed"], result["skipped"]) == (["a", "c"], ["b"])


# --- census ----------------------------------------------------------------------------------


def test_list_modules_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every module is found by name, and none of the package's code has run."""
    root = a_package(tmp_path, monkeypatch)

    modules = census.list_modules("orchard")["modules"]

    assert [m["name"] for m in modules] == [
        "orchard",
        "orchard.sub",
        "orchard.sub.leaf",
        "orchard.tree",
    ]
    assert modules[0]["file"] == str(root / "__init__.py")
    assert "orchard" not in sys.modules


@pytest.mark.parametrize("package", ["no_such_package", "this", "xml.etree", "../x", ""])
def test_list_modules_refuses_what_is_no_package(package: str) -> None:
    """A plain module, a dotted name and a path are no packages that can be listed."""
    with pytest.raises(ModuleNotFoundError, match="not an installed package"):
        census.list_modules(package)


def test_analyse_counts_a_module(tmp_path: Path) -> None:
    """Counts, the longest function and the one with the most paths are right."""
    file = tmp_path / "wood.py"
    file.write_text(SOURCE)

    result = census.analyse("wood", str(file))

    assert result == {
        "name": "wood",
        "lines": 13,
        "code": 11,
        "comments": 2,
        "classes": 1,
        "functions": 3,
        "documented": 1,
        "paths": 5 + 1 + 1,
        "longest": {"name": "wood.Tree.grow", "count": 5},
        "hardest": {"name": "wood.Tree.grow", "count": 5},
    }


def test_analyse_counts_functions_of_the_same_name(tmp_path: Path) -> None:
    """A property's getter and setter are two functions, and the longer one is named."""
    file = tmp_path / "twice.py"
    file.write_text("def f():\n    return 1\n\ndef f():\n    pass\n    return 2\n")

    result = census.analyse("twice", str(file))

    assert (result["functions"], result["longest"]) == (2, {"name": "twice.f", "count": 3})


def test_analyse_of_an_empty_module(tmp_path: Path) -> None:
    """A module without functions has no longest one."""
    file = tmp_path / "empty.py"
    file.touch()

    result = census.analyse("empty", str(file))

    assert (result["lines"], result["functions"], result["longest"]) == (0, 0, None)


def test_report_says_what_was_found(tmp_path: Path) -> None:
    """The report's lines are the file's, and hold totals and rankings in order."""
    (tmp_path / "a.py").write_text(SOURCE)
    (tmp_path / "b.py").write_text("def f():\n    '''Doc.'''\n")
    modules = [census.analyse(name, str(tmp_path / f"{name}.py")) for name in "ab"]

    rankings = census.rankings(modules, 1)
    target = tmp_path / "out" / "report.md"
    report = census.report("Title", census.totals(modules), rankings, str(target))

    assert rankings["modules"] == [{"name": "a", "count": 13}]
    assert report["lines"] == target.read_text().splitlines()
    assert report["lines"][2].startswith("15 lines, 13 with code, 2 with comments; 1 classes; 4 f")
    assert list(target.parent.iterdir()) == [target]
