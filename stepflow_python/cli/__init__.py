"""The `stepflow` command."""
