"""What a test prints, made fit to be kept in a journal and shown in a terminal: its end, as text, without control sequences."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_BYTES = 32_768
"""Of one test: its end, which says why."""
_COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_SHORTEST_SECRET = 4
"""Shorter values are parts of other words too often to be taken out."""


class OutputTail:
    """The last bytes of what comes in, however much it is."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._kept = bytearray()

    def add(self, chunk: bytes) -> None:
        self._kept += chunk
        del self._kept[: -self._most]

    def text(self, secrets: Iterable[str] = ()) -> str:
        """`secrets` are taken out, in case the test prints what it was given."""
        return readable(bytes(self._kept), secrets)


def readable(content: bytes, secrets: Iterable[str] = ()) -> str:
    text = _COLOURS.sub("", content.decode("utf-8", "replace")).replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text.strip("\n")
