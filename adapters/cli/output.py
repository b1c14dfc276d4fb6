"""How commands speak: a document on standard output in the format that was asked for, and everything else beside it.

In text, the document is for people, and problems go to standard error. In JSON and YAML, standard output holds
exactly one document, also when the command fails; progress and warnings go to standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TextIO, TypeAlias

Document: TypeAlias = dict[str, Any]
"""Plain data as it is printed: text, numbers, lists and mappings."""


class OutputFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class ReaderGone(Exception):
    """Whoever was to read the output has closed it. No OSError, because typer has an exit code of its own for those."""


@dataclass(frozen=True, slots=True)
class Printer:
    format: OutputFormat
    out: TextIO
    err: TextIO

    @property
    def is_text(self) -> bool:
        return self.format is OutputFormat.TEXT

    def document(self, data: Document, text: Callable[[], str]) -> None:
        """The command's result, in the format that was asked for."""
        match self.format:
            case OutputFormat.TEXT:
                self._write(self.out, text())
            case OutputFormat.JSON:
                self._write(self.out, json.dumps(data, indent=2, ensure_ascii=False))
            case OutputFormat.YAML:
                import yaml

                self._write(self.out, yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100))

    def say(self, text: str) -> None:
        """Progress: part of the output in text, beside it in the other formats."""
        self._write(self.out if self.is_text else self.err, printable(text))

    def warn(self, text: str) -> None:
        self._write(self.err, printable(text))

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text if text.endswith("\n") else text + "\n")
            stream.flush()
        except BrokenPipeError as error:
            raise ReaderGone from error


def printable(text: str) -> str:
    """Text from elsewhere as it may go to a terminal: no escape sequences, no bells."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def table(rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Columns as wide as their widest cell; the last one is not filled up."""
    cells = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(indent + line for line in lines)


def plain(body: object) -> Document:
    """A body of the API as plain data, named as in its JSON."""
    import msgspec

    built = msgspec.to_builtins(body)
    assert isinstance(built, dict)
    return built


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
