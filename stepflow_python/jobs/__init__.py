"""The life of a job, from a request to its record."""
