"""The web view: its rules, its pages, its stream, the command that serves it."""
