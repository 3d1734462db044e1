"""The record: tables, recorder, reads, migrations."""
