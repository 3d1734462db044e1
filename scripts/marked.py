"""Tables in pages that a command writes: between `<!-- name: begin -->` and `<!-- name: end -->`."""

from pathlib import Path


def put(page: Path, name: str, table: str) -> None:
    """Put a table in place of what is between the marks of this name.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no place between {begin} and {end}")
    page.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")
