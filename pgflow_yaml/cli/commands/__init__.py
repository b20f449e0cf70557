"""The commands, one per module of its name; a module is imported when its command runs.

The docstring of each begins with its section and its short help, which `--help` shows.
"""
