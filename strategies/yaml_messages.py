"""The parser's complaints in our words: what is wrong and what to do, at the place where a person would look."""

from __future__ import annotations

import yaml

_MESSAGES = {
    "mapping values are not allowed in this context": (
        'a colon here cannot be read: check the indentation of this line, and put a value that holds ": " in quotes'
    ),
    "block sequence entries are not allowed in this context": (
        'a list cannot begin here; put its first "- " on a line of its own below the key'
    ),
    "mapping keys are not allowed in this context": "a key cannot stand here; check the indentation of this line",
    "could not find expected ':'": 'this line has no colon; write "key: value", or check its indentation',
    "did not find expected key": (
        "this line does not fit the lines above it; check its indentation, and that quotes and brackets before it are "
        "closed"
    ),
    "did not find expected '-' indicator": (
        'this line is indented like the list above it, but does not begin with "- "; check its indentation'
    ),
    "did not find expected ',' or ']'": 'a list that was opened with "[" is not closed; write "," or "]"',
    "did not find expected ',' or '}'": 'a mapping that was opened with "{" is not closed; write "," or "}"',
    "did not find expected node content": "a value is missing here",
    "found unexpected end of stream": "a quote that was opened here is never closed",
    "found unexpected document indicator": "a quote that was opened here is never closed",
    "found unknown escape character": (
        'this escape is unknown inside double quotes; write "\\\\" for a backslash, or use single quotes'
    ),
    "found invalid Unicode character escape code": "this escape stands for no character; correct it",
    "did not find expected hexdecimal number": "this escape needs hexadecimal digits; correct it, or use single quotes",
    "did not find expected alphabetic or numeric character": (
        'a name is missing after "&" or "*"; put the value in quotes if no anchor is meant'
    ),
    "found undefined tag handle": 'a value that begins with "!" is read as a tag; put it in quotes',
    "found incompatible YAML document": "this %YAML version cannot be read; remove the line",
    "found a tab character that violates indentation": "a tab stands in the indentation; use spaces",
    "found a tab character where an indentation space is expected": "a tab stands in the indentation; use spaces",
    "control characters are not allowed": "a control character stands here; remove it",
    "did not find expected <document "
    "start>": "the text goes on after the end of its only value; check the quotes and brackets",
}
_OPENED_EARLIER = frozenset(
    {
        "found unexpected end of stream",
        "found unexpected document indicator",
        "did not find expected ',' or ']'",
        "did not find expected ',' or '}'",
    }
)
"""Complaints whose cause is where the bracket or the quote was opened, not where the parser gave up."""


def is_too_deep(error: yaml.YAMLError) -> bool:
    """Whether the parser itself has had enough of the nesting. It reads ahead of its events, so that its limit, which
    newer versions have, may come before a lower one that counts events."""
    return isinstance(error, yaml.MarkedYAMLError) and error.problem == "exceeded maximum nesting depth"


def explain_syntax_error(error: yaml.YAMLError, text: str) -> tuple[tuple[int, int], str]:
    """(line, column) from 1, and the sentence. Complaints without an entry in the table keep the parser's words."""
    if isinstance(error, yaml.reader.ReaderError):
        return _place_of_index(text, error.position, error.character), _MESSAGES["control characters are not allowed"]
    if not isinstance(error, yaml.MarkedYAMLError):
        return (1, 1), "this is not YAML; check the file"
    problem = str(error.problem)
    mark = error.problem_mark
    if problem in _OPENED_EARLIER and error.context_mark is not None:
        mark = error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    if problem.startswith("found character") and "cannot start any token" in problem:
        return place, _explain_character(text, place)
    known = _MESSAGES.get(problem)
    return (
        place,
        known if known is not None else f"this cannot be read as YAML ({problem}); check the quotes and indentation",
    )


def _explain_character(text: str, place: tuple[int, int]) -> str:
    lines = text.removeprefix("\ufeff").splitlines()
    line = lines[place[0] - 1] if place[0] <= len(lines) else ""
    character = line[place[1] - 1 : place[1]]
    if character == "\t":
        return "a tab stands in the indentation; use spaces"
    return f'a value cannot begin with "{character}"; put it in quotes'


def _place_of_index(text: str, index: int, character: object) -> tuple[int, int]:
    """The reader counts bytes or characters, whichever it was reading; the character itself is the better witness."""
    sought = chr(character) if isinstance(character, int) else str(character)
    found = text.find(sought)
    at = found if found >= 0 else min(index, len(text))
    before = text[:at]
    return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
