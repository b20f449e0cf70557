"""The shape of a flow: what comes before what, and pictures of it."""

from __future__ import annotations

from pgflow_yaml.graph.order import Ancestors, Edges, cycles, levels

__all__ = ["Ancestors", "Edges", "cycles", "levels"]
