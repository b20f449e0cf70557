"""The commands: one module each, with the name of the command, imported when it runs.

The docstring of a module begins with the section and the short help that `--help` shows.
"""
