"""Settings to wired objects: the one place that names concrete classes."""
