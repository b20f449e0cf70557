"""The language server: findings, hovers, completion, definitions and rename in an editor.

`server` speaks the protocol. The other modules know only texts, trees and spans, so that each
question is answered without an editor.
"""
