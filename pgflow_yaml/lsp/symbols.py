"""The outline of a flow file: its input fields and steps, with those of flows in steps below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol.types import DocumentSymbol, SymbolKind

from pgflow_yaml.language.model import ACTIONS
from pgflow_yaml.language.source import MappingNode, ScalarNode
from pgflow_yaml.lsp.names import names_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.source import Document, Node
    from pgflow_yaml.lsp.names import Name, Scope
    from pgflow_yaml.lsp.positions import Positions

_KINDS = {"input": SymbolKind.Field, "step": SymbolKind.Function}


def symbols(document: Document, positions: Positions) -> list[DocumentSymbol]:
    """Return the outline of a text."""
    defined = [name for name in names_in(document) if name.defines]
    return _below((), defined, positions)


def _below(scope: Scope, defined: Sequence[Name], positions: Positions) -> list[DocumentSymbol]:
    return [
        DocumentSymbol(
            name=name.name,
            detail=_detail(name.node),
            kind=_KINDS[name.kind],
            range=positions.range(name.start, max(name.end, name.node.end if name.node else 0)),
            selection_range=positions.range(name.start, name.end),
            children=_below((*scope, name.name), defined, positions)
            if name.kind == "step"
            else None,
        )
        for name in defined
        if name.scope == scope and name.name
    ]


def _detail(node: Node | None) -> str:
    for key in (*ACTIONS, "type"):
        value = node.get(key) if isinstance(node, MappingNode) else None
        if isinstance(value, ScalarNode):
            return value.text
        if value is not None and key in ACTIONS:
            return key
    return ""
