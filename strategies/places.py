"""A tolerant way to look around in a YAML tree: what is not there, or is not what was hoped for, is simply absent.

The checks that compare one part of a deploy file with another use it, so that they work on files that do not fit the
schema as well, and all problems of a file come at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from strategies.yaml_document import MappingNode, Mark, Node, ScalarNode, SequenceNode


@dataclass(frozen=True, slots=True)
class Place:
    node: Node
    path: tuple[str | int, ...]
    key_mark: Mark
    """Where its key stands; for an item of a list, where the item begins."""

    @classmethod
    def root(cls, node: Node) -> Place:
        return cls(node, (), node.mark)

    @property
    def mark(self) -> Mark:
        return self.node.mark

    @property
    def text(self) -> str | None:
        """The text here; None when there is something else, or only blanks."""
        value = self.value
        return value if isinstance(value, str) and value.strip() else None

    @property
    def number(self) -> int | float | None:
        value = self.value
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def value(self) -> str | int | float | bool | None:
        return self.node.value if isinstance(self.node, ScalarNode) else None

    @property
    def is_empty(self) -> bool:
        """Whether a key stands here without a value."""
        return isinstance(self.node, ScalarNode) and self.node.value is None

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, MappingNode)

    @property
    def label(self) -> str:
        return label(self.path)

    def get(self, key: str) -> Place | None:
        """The value below `key`; None when there is none or the key stands alone."""
        if not isinstance(self.node, MappingNode):
            return None
        entry = self.node.entries.get(key)
        if entry is None or (isinstance(entry.node, ScalarNode) and entry.node.value is None):
            return None
        return Place(entry.node, (*self.path, key), entry.key_mark)

    def at(self, *keys: str) -> Place | None:
        """The value at the end of a chain of keys."""
        place: Place | None = self
        for key in keys:
            place = place.get(key) if place is not None else None
        return place

    def items(self, *keys: str) -> Iterator[Place]:
        """The items of the list here, or at the end of a chain of keys."""
        place = self.at(*keys)
        if place is not None and isinstance(place.node, SequenceNode):
            for index, item in enumerate(place.node.items):
                yield Place(item, (*place.path, index), item.mark)

    def entries(self, *keys: str) -> Iterator[tuple[str, Place]]:
        """The entries of the mapping here, or at the end of a chain of keys, also those without a value."""
        place = self.at(*keys)
        if place is not None and isinstance(place.node, MappingNode):
            for key, entry in place.node.entries.items():
                yield key, Place(entry.node, (*place.path, key), entry.key_mark)

    def mark_of(self, key: str) -> Mark:
        """Where a key of the mapping here stands; where the mapping begins when there is no such key."""
        entries = self.node.entries if isinstance(self.node, MappingNode) else {}
        return entries[key].key_mark if key in entries else self.mark

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of the mapping here, also those without a value."""
        return tuple(self.node.entries) if isinstance(self.node, MappingNode) else ()

    def deepest(self, path: Sequence[str | int]) -> Place:
        """As far along `path` as there is something."""
        place = self
        for part in path:
            match place.node:
                case MappingNode(entries=entries) if isinstance(part, str) and part in entries:
                    entry = entries[part]
                    place = Place(entry.node, (*place.path, part), entry.key_mark)
                case SequenceNode(items=items) if isinstance(part, int) and part < len(items):
                    place = Place(items[part], (*place.path, part), items[part].mark)
                case _:
                    return place
        return place


def label(path: Sequence[str | int]) -> str:
    """How messages call a place: its last two names, such as `pause.unit` or `queries[1].upperLimit`."""
    parts: list[str] = []
    for part in path:
        if isinstance(part, int) and parts:
            parts[-1] += f"[{part}]"
        else:
            parts.append(str(part))
    return ".".join(parts[-2:]) if parts else "the file"
