"""The workflow language: from YAML text to a checked flow and its definition.

This package is pure: it uses no clock, file, socket or environment variable.
"""
