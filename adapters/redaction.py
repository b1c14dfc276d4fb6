"""Takes secrets out of what was said by somebody to whom they were sent, in every form in which they may come back. Pure.

Between a secret and its echo there are encoders, each of which writes other characters in its own way: that of an address (`%2F`;
some libraries encode more than others, and some encode twice), that of JSON and its like (`\\"`, `\\u002f`, a text inside of a
text), that of a web page (`&amp;`). Letters and digits stay as they are everywhere. So each other character of a secret is looked
for in all of these forms.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

MARK = "***"
SHORTEST = 4
"""Shorter secrets are parts of other words too often to be taken out."""
SHORTEST_LINE = 8
"""Of a secret of several lines, each line from this length on is a secret too: some side may show only one."""
_LONGEST_FORM = 6
"""How many bytes may stand for one of a secret: `\\u002f`."""
_PARTS = re.compile(r"(?P<plain>[A-Za-z0-9_.~-]+)|(?P<backslashes>\\+)|(?P<breaks>[\r\n]+)|.", re.DOTALL)
# All repetitions are bounded, or a text of nothing but backslashes would be looked through anew from each of them.
_ESCAPE = r"\\{0,16}+(?<=\\)"
"""What an escape begins with, which what stands before it may have taken already."""
_PERCENT = "%(?:25){0,4}"
_BACKSLASHES = rf"(?:\\|{_PERCENT}5[Cc]){{1,64}}+"
_BREAKS = rf"(?:[\r\n]|{_PERCENT}0[AaDd]|{_ESCAPE}(?:[rn]|u000[AaDd])){{1,64}}+"


class Redaction:
    """Of some secrets. Those that are shorter than `shortest` are left alone."""

    def __init__(self, secrets: Iterable[str], *, shortest: int = SHORTEST) -> None:
        found = {one for secret in secrets for one in (secret, *_long_lines(secret)) if len(one) >= max(shortest, 1)}
        longest_first = sorted(found, key=lambda one: (-len(one), one))
        self._pattern = re.compile("|".join(map(_forms, longest_first))) if found else None
        self.reach = _LONGEST_FORM * max((len(one.encode("utf-8", "surrogatepass")) for one in found), default=0)
        """The most bytes that a secret takes in a text, encoded once."""

    def take_out(self, text: str) -> str:
        """The text without the secrets. It is to be cut only afterwards: the rest of one that was cut is not known again."""
        return text if self._pattern is None else self._pattern.sub(MARK, text)

    def take_out_of_rest(self, text: str, start: int) -> str:
        """What stands from `start` on, without the secrets, and without the rest of one that begins before."""
        for found in self._pattern.finditer(text) if self._pattern is not None else ():
            if found.start() >= start:
                break
            if found.end() > start:
                return MARK + self.take_out(text[found.end() :])
        return self.take_out(text[start:])


def _long_lines(secret: str) -> Iterator[str]:
    return (line for line in map(str.strip, secret.splitlines()) if len(line) >= SHORTEST_LINE)


def _forms(secret: str) -> str:
    """A pattern of all forms of a secret."""
    return "".join(map(_forms_of_part, _PARTS.finditer(secret)))


def _forms_of_part(part: re.Match[str]) -> str:
    match part.lastgroup:
        case "plain":
            return part[0]
        case "backslashes":
            return _BACKSLASHES
        case "breaks":
            return _BREAKS
        case _:
            return f"(?:{'|'.join(_forms_of_character(part[0]))})"


def _forms_of_character(character: str) -> Iterator[str]:
    yield "".join(_PERCENT + _hexadecimal(f"{byte:02x}") for byte in character.encode("utf-8", "surrogatepass"))
    yield "".join(f"{_ESCAPE}u{_hexadecimal(unit)}" for unit in _units(character))
    yield f"&#(?:{ord(character)}|[xX]{_hexadecimal(f'{ord(character):x}')});"
    if (named := html.escape(character)) != character:
        yield named
    if character == " ":
        yield r"\+"
    if (letter := {"\t": "t", "\b": "b", "\f": "f"}.get(character)) is not None:
        yield _ESCAPE + letter
    yield rf"\\{{0,16}}+{re.escape(character)}"  # At last, because some of the others begin with the character itself.


def _units(character: str) -> Iterator[str]:
    """Those of UTF-16, in which JSON escapes are written."""
    encoded = character.encode("utf-16-be", "surrogatepass")
    return (encoded[at : at + 2].hex() for at in range(0, len(encoded), 2))


def _hexadecimal(digits: str) -> str:
    return "".join(f"[{digit.upper()}{digit}]" if digit.isalpha() else digit for digit in digits)
