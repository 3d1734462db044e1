"""Virtualenvs, named by their content, shared, never half-built."""
