"""Frozen values that travel between the floors; no I/O."""
