"""The commands: one module for each section of `--help`, imported when one of its commands runs."""
