"""Approval definitions, instances and tasks: decisions count here."""
