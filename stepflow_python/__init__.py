"""Runs Python tools for workflow engines and agents: typed, isolated, locked and recorded."""

__version__ = "0.1.0"
