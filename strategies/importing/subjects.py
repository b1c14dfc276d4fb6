"""One object of the input while it is being carried over: its fields, which of them were dealt with, and the remarks
about them. What was not dealt with is found at the end, so that nothing is lost in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from strategies.importing.go_durations import DurationError, read_seconds
from strategies.importing.remarks import Remark, RemarkKind
from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import quote
from strategies.yaml_document import MappingNode, ScalarNode, SequenceNode

Lost = Mapping[str, tuple[str, str]]
"""Fields that have no counterpart: what each of them meant, and what to do instead."""


@dataclass(slots=True)
class Ledger:
    """All that there is to say about one input."""

    say: FileReport
    remarks: dict[Remark, None] = field(default_factory=dict)
    said_once: set[tuple[str, str]] = field(default_factory=set)

    def add(self, kind: RemarkKind, place: Place, field_path: str, meaning: str, instead: str) -> None:
        path, line, column = self.say.locate(place.key_mark)
        self.remarks[Remark(path, line, column, kind, field_path, meaning, instead)] = None


class Subject:
    """Reading a field through it marks the field as dealt with; so does a remark about a field that is no mapping, and
    one that says that all of a field is lost."""

    def __init__(self, root: Place, ledger: Ledger, called: str = "") -> None:
        """`called` stands in front of every field of an object that is not the main one."""
        self.root = root
        self._called = f"{called} " if called else ""
        self._ledger = ledger
        self._dealt_with: set[tuple[str | int, ...]] = set()

    # --- reading -------------------------------------------------------------------------------------------------------

    def take(self, owner: Place | None, key: str) -> Place | None:
        place = owner.get(key) if owner is not None else None
        if owner is not None and key in owner.names:
            self._dealt_with.add((*owner.path, key))
        return place

    def text(self, owner: Place | None, key: str) -> str | None:
        """A scalar as it was written. A mapping or list in its place is an error."""
        place = self.take(owner, key)
        if place is None:
            return None
        if not isinstance(place.node, ScalarNode):
            self.error(place, "has to be text")
            return None
        return place.node.text if place.node.text.strip() else None

    def integer(self, owner: Place | None, key: str) -> int | None:
        """A whole number of 0 or more, also one that is written as text."""
        place = self.take(owner, key)
        if place is None:
            return None
        if isinstance(place.value, int) and not isinstance(place.value, bool) and place.value >= 0:
            return place.value
        if place.text is not None and place.text.isascii() and place.text.isdecimal():
            return int(place.text[:18])
        self.error(place, f"is {shown(place)}; expected a whole number")
        return None

    def number(self, owner: Place | None, key: str) -> float | None:
        place = self.take(owner, key)
        if place is None or place.number is not None:
            return place.number if place is not None else None
        self.error(place, f"is {shown(place)}; expected a number")
        return None

    def boolean(self, owner: Place | None, key: str) -> bool | None:
        place = self.take(owner, key)
        if place is None or isinstance(place.value, bool):
            return bool(place.value) if place is not None else None
        self.error(place, f"is {shown(place)}; expected true or false")
        return None

    def seconds(self, owner: Place | None, key: str) -> float | None:
        """A duration as Go writes it (`1h30m`), or a number of seconds."""
        place = self.take(owner, key)
        if place is None:
            return None
        try:
            return read_seconds(place.value)
        except DurationError as error:
            self.error(place, str(error))
            return None

    def finish(self, place: Place) -> None:
        """All of a field is dealt with, whatever is in it."""
        self._dealt_with.add(place.path)

    def is_finished(self, owner: Place, key: str) -> bool:
        return (*owner.path, key) in self._dealt_with

    # --- remarks -------------------------------------------------------------------------------------------------------

    def error(self, place: Place, message: str) -> None:
        """The input cannot be used."""
        self._dealt_with.add(place.path)
        self._ledger.say.error(place.mark, f"{self._called}{full_path(place)} {message}")

    def lost(self, place: Place, meaning: str, instead: str) -> None:
        self._remark(RemarkKind.LOST, place, meaning, instead)

    def changed(self, place: Place, meaning: str, instead: str = "") -> None:
        self._remark(RemarkKind.CHANGED, place, meaning, instead)

    def fill_in(self, place: Place, meaning: str, instead: str) -> None:
        self._remark(RemarkKind.FILL_IN, place, meaning, instead)

    def fill_in_once(self, place: Place, meaning: str, instead: str) -> None:
        """What holds for many fields is said of the first of them."""
        if not place.is_mapping:
            self.finish(place)
        if (meaning, instead) not in self._ledger.said_once:
            self._ledger.said_once.add((meaning, instead))
            self.fill_in(place, meaning, instead)

    def note(self, place: Place, meaning: str, instead: str = "") -> None:
        self._remark(RemarkKind.NOTE, place, meaning, instead)

    def lose(self, owner: Place | None, fields: Lost) -> None:
        """The fields of `owner` that are there and have no counterpart."""
        for key, (meaning, instead) in fields.items():
            if owner is not None and (place := owner.get(key)) is not None:
                self.lost(place, meaning, instead)

    def lose_the_rest(self) -> None:
        """Every field of `spec` that nothing has looked at."""
        spec = self.root.get("spec")
        for place in _untouched(spec, self._dealt_with) if spec is not None else ():
            self.lost(place, "is not known to this import", "look up what it does, and whether it is still needed")

    def _remark(self, kind: RemarkKind, place: Place, meaning: str, instead: str) -> None:
        if kind is RemarkKind.LOST or not place.is_mapping:
            self.finish(place)
        self._ledger.add(kind, place, self._called + full_path(place), meaning, instead)


def full_path(place: Place) -> str:
    parts: list[str] = []
    for part in place.path:
        if isinstance(part, int) and parts:
            parts[-1] += f"[{part}]"
        else:
            parts.append(str(part))
    return ".".join(parts) or "the object"


def shown(place: Place) -> str:
    return quote(place.node.text) if isinstance(place.node, ScalarNode) else "not one value"


def _untouched(place: Place, dealt_with: Iterable[tuple[str | int, ...]]) -> Iterator[Place]:
    done = frozenset(dealt_with)
    ways = frozenset(path[:length] for path in done for length in range(len(path)))
    stack = [place]
    while stack:
        current = stack.pop()
        if current.path in done:
            continue
        if current.path not in ways:
            if not _is_empty(current):
                yield current
            continue
        match current.node:
            case MappingNode():
                stack.extend(reversed([inner for _, inner in current.entries()]))
            case SequenceNode():
                stack.extend(reversed(list(current.items())))
            case _:
                pass


def _is_empty(place: Place) -> bool:
    match place.node:
        case MappingNode(entries=entries):
            return not entries or all(_is_empty(inner) for _, inner in place.entries())
        case SequenceNode(items=items):
            return not items
        case _:
            return place.is_empty
