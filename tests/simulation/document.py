"""Writes what the simulation has found into `docs/simulation.md`, one part at a time; the words around it are written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_part(name: str, text: str) -> None:
    """Between the two comments of this name. Raises `ValueError` where the page has none."""
    page, begin, end = PAGE.read_text("utf-8"), f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{PAGE.name} has no part called {name}")
    PAGE.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", "utf-8")
