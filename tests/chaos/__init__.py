"""Chaos: a mix of runs, seeded faults of workers, database and network, and an oracle."""

from __future__ import annotations
