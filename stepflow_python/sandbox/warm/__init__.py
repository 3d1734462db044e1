"""Runs whose process was waiting for them."""
