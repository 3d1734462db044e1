"""Verdicts on a tool's source: early, named refusals; the sandbox is the boundary."""
