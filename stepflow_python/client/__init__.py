"""For callers: submit, wait, result, history."""
