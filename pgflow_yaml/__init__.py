"""Declarative, durable workflows on PostgreSQL."""
