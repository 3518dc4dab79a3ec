"""Hostile notebooks in a real Galaxy whose jobs run in containers."""
