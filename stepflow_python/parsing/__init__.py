"""Facts about a tool's source: pure, never executing what it reads."""
