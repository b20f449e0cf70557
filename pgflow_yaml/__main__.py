"""`python -m pgflow_yaml` is the command line."""

from __future__ import annotations

import sys

# `-m` puts the current folder first, where a file of the user could replace a module of the
# standard library (S-9); the app dir is added last, if there is one.
if not sys.flags.safe_path:
    del sys.path[0]

from pgflow_yaml.cli import main

if __name__ == "__main__":
    main()
