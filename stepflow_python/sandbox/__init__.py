"""Where a stranger's code runs: the host's side of the box."""
