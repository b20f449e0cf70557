"""The workflow language, pure: from YAML text to a checked flow and its definition.

Nothing in here touches a clock, a file, a socket or the environment.
"""
