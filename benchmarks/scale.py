"""The figures of more cores, machines and workers, each beside its goal (X-G1 to X-G9).

make bench-scale                 # ten minutes on an idle machine
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from figures import target_table

PARTS = ("engines", "held", "idle_workers")


def main() -> int:
    """Run the parts, or those named; 1 if a goal was missed."""
    wanted = sys.argv[1:] or PARTS
    here = Path(__file__).parent
    targets = []
    for part in wanted:
        if (here / f"{part}.py").exists():
            targets += import_module(part).measured()
    print(target_table(targets))
    return int(any(target.verdict != "met" for target in targets))


if __name__ == "__main__":
    sys.exit(main())
