"""Audit what users install with the package: known vulnerabilities, licences, a list of parts.

The tools and the packages get environments of their own below build/audit. The list, an SBOM as
CycloneDX has it, is build/sbom.json.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
FOLDER, SBOM = ROOT / "build" / "audit", ROOT / "build" / "sbom.json"
TOOLS = ("cyclonedx-bom>=7", "pip-audit>=2.9", "pip-licenses>=5")
OWN = "pgflow-yaml"
# A program that imports such a package must be given away under the same licence. LGPL asks that
# of the library alone.
_STRONG = re.compile(r"(?<![A-Za-z])A?GPL|GNU (Affero )?General Public|SSPL|Server Side Public")
_KINDS = ("License-Expression", "License-Metadata", "License-Classifier")


def main() -> int:
    """Make the environments and ask the tools; 1 for a finding."""
    tools, runtime = FOLDER / "tools", FOLDER / "runtime"
    for folder, options in ((tools, []), (runtime, ["--without-pip"])):
        subprocess.run([sys.executable, "-m", "venv", *options, folder], check=True)
    pip: list[str | Path] = [tools / "bin" / "pip", "--disable-pip-version-check"]
    python = runtime / "bin" / "python"
    into_runtime = ["--python", python, "install", "-q", "-e", f"{ROOT}[local]"]
    for arguments in (["install", "-q", *TOOLS], into_runtime):
        if subprocess.run([*pip, *arguments], check=False).returncode:
            return 1  # pip has said why
    licences = json.loads(
        _ask(tools, "pip-licenses", "--python", str(python), "--from=all", "--format=json").stdout
    )
    (site,) = runtime.glob("lib/python3*/site-packages")
    audit = _ask(tools, "pip-audit", "--path", str(site), "--format=json", is_sure=False)
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type=library"]
    _ask(tools, "cyclonedx-py", "environment", *options, "-o", str(SBOM), str(python))
    problems = [
        *bad_licences(licences),
        *missing_parts(json.loads(SBOM.read_text()), _dependencies()),
        *vulnerabilities(audit.stdout, audit.stderr),
    ]
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    sys.stdout.write(f"licences of {len(licences)} packages read; {SBOM.relative_to(ROOT)} made\n")
    return int(any(not problem.startswith("skipped: ") for problem in problems))


def bad_licences(packages: Iterable[dict[str, str]]) -> Iterator[str]:
    """Return a sentence for each package with a strong copyleft licence, or with none."""
    for package in packages:
        texts = [text for kind in _KINDS if (text := package[kind]) != "UNKNOWN"]
        name = package["Name"]
        if not texts and name != OWN:
            yield f"{name} states no licence: read it, and do without the package in doubt"
        for text in texts:
            if all(_STRONG.search(choice) for choice in text.split(" OR ")):
                yield f"{name} has the licence {text}: the package must do without it"
                break


def missing_parts(sbom: dict[str, Any], wanted: Iterable[str]) -> Iterator[str]:
    """Return a sentence for each direct dependency that the SBOM does not have."""
    names = {_normal(part["name"]) for part in sbom.get("components", ())}
    for name in wanted:
        if name not in names:
            yield f"{name} is not in the SBOM"


def vulnerabilities(report: str, said: str = "") -> Iterator[str]:
    """Return a sentence for each advisory, and one for what could not be looked up."""
    try:
        packages = json.loads(report)["dependencies"]
    except ValueError:
        reason = (said.strip().splitlines() or ["no report"])[-1]
        yield f"skipped: no vulnerability could be looked up: {reason}"
        return
    others = [package for package in packages if _normal(package["name"]) != OWN]
    if not any("vulns" in package for package in others):
        yield "skipped: no vulnerability could be looked up: no index has advisories for these"
        return
    for package in others:
        if "vulns" not in package:
            yield f"skipped: {package['name']}: {package['skip_reason']}"
        for advisory in package.get("vulns", ()):
            fixed = ", ".join(advisory["fix_versions"]) or "no version yet"
            name, number = f"{package['name']} {package['version']}", advisory["id"]
            yield f"{name} has the vulnerability {number}, fixed in {fixed}"


def _dependencies() -> list[str]:
    """Return the names of the packages that users install with ours."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *project["optional-dependencies"]["local"]]
    return [_normal(re.split(r"[^A-Za-z0-9._-]", text)[0]) for text in texts]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _ask(
    tools: Path, tool: str, *arguments: str, is_sure: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a tool; one that is not sure to succeed, such as a look-up, may fail."""
    command: list[str | Path] = [tools / "bin" / tool, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if is_sure and done.returncode:
        sys.exit(f"{tool} failed: {done.stderr}")
    return done


if __name__ == "__main__":
    sys.exit(main())
