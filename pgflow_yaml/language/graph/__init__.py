"""The graph of a flow: order of the steps, and pictures of it."""

from __future__ import annotations

from pgflow_yaml.language.graph.order import Ancestors, Edges, as_listed, cycles, levels

__all__ = ["Ancestors", "Edges", "as_listed", "cycles", "levels"]
