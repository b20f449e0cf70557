"""A server of the Model Context Protocol: assistants look at runs, and act on them if allowed.

`tools` has the tools as data, `reading` and `acting` what each does, `answers` the size of their
results; `server` speaks the protocol. Only `server` imports the extra `mcp`.
"""
