"""Mutation: fences that are taken out of the SQL, one at a time."""

from __future__ import annotations
