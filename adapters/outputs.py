"""What a test prints, made fit to be kept in a journal and shown in a terminal: its end, as text, without control sequences and
without what it was given as a secret."""

from __future__ import annotations

import codecs
import re

from adapters.redaction import Redaction

MOST_BYTES = 32_768
"""Of one test: its end, which says why."""
_COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class OutputTail:
    """The last bytes of what comes in, however much it is, without the secrets that the test may print."""

    def __init__(self, redaction: Redaction, most: int = MOST_BYTES) -> None:
        self._redaction = redaction
        self._most = most
        self._kept = bytearray()

    def add(self, chunk: bytes) -> None:
        """Kept is more than is told: as much as a secret may be long, so that one at the cut is known as a whole."""
        self._kept += chunk
        del self._kept[: -(self._most + self._redaction.reach)]

    def text(self) -> str:
        cut = max(0, len(self._kept) - self._most)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        before, told = _plain(decoder.decode(self._kept[:cut])), _plain(decoder.decode(self._kept[cut:], final=True))
        return _printable(self._redaction.take_out_of_rest(before + told, len(before))).strip("\n")


def _plain(text: str) -> str:
    return _COLOURS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)
