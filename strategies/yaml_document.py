"""YAML and JSON text -> a tree of nodes that know their places. Knows nothing of deploy files or of Kubernetes.

The tree is built from the parser's events instead of by its composer, which lets the second of two equal keys win
silently, follows nesting of any depth with recursion, and expands aliases without a limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, TypeAlias

import yaml

from strategies.suggestions import quote
from strategies.yaml_messages import explain_syntax_error, is_too_deep
from strategies.yaml_scalars import OLD_BOOLEANS, Dialect, ScalarValue, resolve

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
# Neither repeats the name: it may be a password of a Secret that was written without quotes, also inside of a deploy file.
_NO_ANCHOR = (
    'a value that begins with "*" is read as an alias, and no anchor above has its name; put the value in quotes, '
    'or write the anchor ("&" and the name) where the value is first given'
)
_UNKNOWN_TAG = (
    'a value that begins with "!" is read as a tag, and this one is not supported; remove it, or put the value in quotes'
)
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class Mark(NamedTuple):
    """A place in a text. Lines and columns count from 1, columns in characters."""

    line: int
    column: int


_START = Mark(1, 1)


@dataclass(slots=True)
class ScalarNode:
    value: ScalarValue
    text: str
    mark: Mark
    literal: bool = False
    """Whether it was written as a block with `|`, whose lines stand in the file as they are."""
    quoted: bool = False
    size: int = 1

    @property
    def length(self) -> int:
        return len(self.text)


@dataclass(slots=True)
class Entry:
    key_mark: Mark
    node: Node


@dataclass(slots=True)
class MappingNode:
    mark: Mark
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1
    length: int = 0
    """The characters in it, with aliases expanded."""


@dataclass(slots=True)
class SequenceNode:
    mark: Mark
    items: list[Node] = field(default_factory=list)
    size: int = 1
    length: int = 0


Node: TypeAlias = ScalarNode | MappingNode | SequenceNode


class Fault(NamedTuple):
    """What is wrong with a text, and where."""

    mark: Mark
    message: str
    earlier: Mark | None = None
    """A second place that the message speaks of."""

    def describe(self, locate: Callable[[Mark], Mark]) -> str:
        """The message, with its second place as `locate` moves it: the text may stand somewhere inside of a file."""
        if self.earlier is None:
            return self.message
        return self.message.replace(_first_at(self.earlier), _first_at(locate(self.earlier)))


def _first_at(mark: Mark) -> str:
    return f"first at {mark.line}:{mark.column}"


@dataclass(frozen=True, slots=True)
class Limits:
    bytes: int
    """The longest text, in bytes of UTF-8."""
    values: int
    """The most values, counted after aliases are expanded: what an alias bomb makes of a few lines."""
    depth: int = 100

    @property
    def characters(self) -> int:
        """The most characters, after aliases are expanded: one long text, named again and again, is few values."""
        return 4 * self.bytes


@dataclass(frozen=True, slots=True)
class Composed:
    documents: tuple[Node, ...]
    """The documents that hold anything. Those before a syntax error are among them."""
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...] = ()


def compose(text: str, *, dialect: Dialect, limits: Limits, single: bool) -> Composed:
    """Read a text of one document (`single`) or of several. Never raises for what the text holds."""
    if len(text.encode("utf-8", "surrogatepass")) > limits.bytes:
        return Composed((), (Fault(Mark(1, 1), f"the file is larger than {_in_words(limits.bytes)}; split it"),))
    composer = _Composer(dialect, limits, single)
    try:
        for event in yaml.parse(_join_surrogates(text), Loader=_PARSER):
            composer.take(event)
    except yaml.YAMLError as error:
        mark, message = explain_syntax_error(error, text)
        if is_too_deep(error):
            message = _say_too_deep(limits)
        composer.faults.append(composer.unclosed_at_the_end(text, mark) or Fault(Mark(*mark), message))
    except _GivenUp:
        pass
    return Composed(tuple(composer.documents), tuple(composer.faults), tuple(composer.warnings))


def decode(content: bytes) -> tuple[str, Fault | None]:
    """UTF-8 to text, or the place of the first byte that is not UTF-8."""
    try:
        return content.decode("utf-8"), None
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        mark = Mark(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        message = f"byte {error.start + 1} (0x{content[error.start]:02x}) is not UTF-8; save the file as UTF-8"
        return "", Fault(mark, message)


def to_plain(node: Node) -> Any:  # noqa: ANN401  YAML's own values: dict, list, str, int, float, bool or None
    """The plain Python value of a tree. Its size is bounded by the limits that it was composed under."""
    match node:
        case MappingNode():
            return {key: to_plain(entry.node) for key, entry in node.entries.items()}
        case SequenceNode():
            return [to_plain(item) for item in node.items]
        case ScalarNode():
            return node.value


def walk(node: Node) -> Iterator[ScalarNode]:
    """Every scalar value of a tree, each once even where aliases share it."""
    seen: set[int] = set()
    stack: list[Node] = [node]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        match current:
            case ScalarNode():
                yield current
            case MappingNode():
                stack.extend(entry.node for entry in reversed(current.entries.values()))
            case SequenceNode():
                stack.extend(reversed(current.items))


def _say_too_deep(limits: Limits) -> str:
    return f"nested more than {limits.depth} levels deep; make it flatter"


def _in_words(size: int) -> str:
    return f"{size // (1 << 20)} MiB" if size >= 1 << 20 else f"{size // 1024} KiB"


def _join_surrogates(text: str) -> str:
    """JSON writes characters beyond the first 65,536 as two escapes, which YAML does not know."""
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return text

    def join(match: re.Match[str]) -> str:
        high, low = int(match[2], 16), int(match[3], 16)
        return f"{match[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"

    return _SURROGATES.sub(join, text)


class _GivenUp(Exception):
    """A fault after which reading on has no sense."""


@dataclass(slots=True)
class _Frame:
    node: MappingNode | SequenceNode
    anchor: str | None
    flow: bool
    """Whether it is written with brackets."""
    key: str | None = None
    key_mark: Mark = _START
    awaits_value: bool = False
    is_template: bool = False
    """Whether it is what YAML makes of an unquoted `{{variable}}`: a mapping with a mapping for its key."""
    merges: list[Node] = field(default_factory=list)


class _Composer:
    def __init__(self, dialect: Dialect, limits: Limits, single: bool) -> None:
        self.dialect = dialect
        self.limits = limits
        self.single = single
        self.documents: list[Node] = []
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._document_mark = _START
        self._values = 0
        self._characters = 0
        self._frames: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}

    def take(self, event: yaml.Event) -> None:
        mark = _mark_of(event)
        match event:
            case yaml.DocumentStartEvent():
                self._document_mark = mark
                self._anchors.clear()
            case yaml.ScalarEvent():
                node = self._read_scalar(event, mark)
                self._remember(event.anchor, node)
                self._place(node, mark)
            case yaml.AliasEvent():
                self._place(self._look_up(event.anchor, mark), mark)
            case yaml.MappingStartEvent():
                self._open(MappingNode(mark), event, mark)
            case yaml.SequenceStartEvent():
                self._open(SequenceNode(mark), event, mark)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case _:
                pass

    def unclosed_at_the_end(self, text: str, mark: tuple[int, int]) -> Fault | None:
        """Where the bracket was opened for which the parser looked in vain until the text was at its end."""
        opened = next((frame for frame in reversed(self._frames) if frame.flow), None)
        rest = text.splitlines()[mark[0] - 1 :]
        if opened is None or any(line.strip() for line in [line[mark[1] - 1 :] for line in rest[:1]] + rest[1:]):
            return None
        bracket, what = ("{", "mapping") if isinstance(opened.node, MappingNode) else ("[", "list")
        closing = "}" if bracket == "{" else "]"
        message = f'a {what} that was opened with "{bracket}" is not closed; write "," or "{closing}"'
        return Fault(opened.node.mark, message)

    def _end_document(self, node: Node) -> None:
        if isinstance(node, ScalarNode) and node.value is None:
            return
        if self.single and self.documents:
            mark = self._document_mark
            self._give_up(
                mark, "a second document begins here; a deploy file is one document, so put it in a file of its own"
            )
        self.documents.append(node)

    def _give_up(self, mark: Mark, message: str) -> NoReturn:
        self.faults.append(Fault(mark, message))
        raise _GivenUp

    def _count(self, size: int, length: int, mark: Mark) -> None:
        self._values += size
        self._characters += length
        if self._characters > self.limits.characters:
            most = _in_words(self.limits.characters)
            self._give_up(mark, f"more than {most} of text up to here, with aliases expanded; make it smaller")
        if self._values > self.limits.values:
            self._give_up(
                mark, f"more than {self.limits.values:,} values up to here, with aliases expanded; make it smaller"
            )

    def _remember(self, anchor: str | None, node: Node | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _look_up(self, anchor: str | None, mark: Mark) -> Node:
        if anchor is None or anchor not in self._anchors:
            self._give_up(mark, _NO_ANCHOR)
        node = self._anchors[anchor]
        if node is None:
            self._give_up(mark, "this refers to the value that it is part of; copy what is meant instead")
        return node

    def _open(self, node: MappingNode | SequenceNode, event: yaml.CollectionStartEvent, mark: Mark) -> None:
        expected = "map" if isinstance(node, MappingNode) else "seq"
        if event.tag not in (None, "!", _TAG + expected):
            self.faults.append(Fault(mark, _UNKNOWN_TAG))
        if len(self._frames) >= self.limits.depth:
            self._give_up(mark, _say_too_deep(self.limits))
        self._remember(event.anchor, None)
        self._frames.append(_Frame(node, event.anchor, flow=bool(event.flow_style)))

    def _close(self) -> None:
        frame = self._frames.pop()
        node = frame.node
        if isinstance(node, MappingNode):
            for merged in frame.merges:
                for key, entry in _entries_to_merge(merged).items():
                    node.entries.setdefault(key, entry)
            node.size = 1 + sum(entry.node.size for entry in node.entries.values())
            node.length = sum(len(key) + entry.node.length for key, entry in node.entries.items())
            if frame.is_template:
                # The fault was reported where the template begins; as text it causes no second one.
                self._place(ScalarNode("{{}}", "{{}}", node.mark), node.mark)
                return
        else:
            node.size = 1 + sum(item.size for item in node.items)
            node.length = sum(item.length for item in node.items)
        self._remember(frame.anchor, node)
        self._place(node, node.mark)

    def _place(self, node: Node, mark: Mark) -> None:
        """Put a finished node where it belongs: into its parent as key, value or item, or on top as a document."""
        # A collection's parts were counted one by one as they were placed; an alias brings all of its target's at once.
        is_fresh_collection = not isinstance(node, ScalarNode) and node.mark == mark
        if is_fresh_collection:
            self._count(1, 0, mark)
        else:
            self._count(node.size, node.length, mark)
        if not self._frames:
            self._end_document(node)
            return
        frame = self._frames[-1]
        if isinstance(frame.node, SequenceNode):
            frame.node.items.append(node)
        elif frame.awaits_value:
            self._place_value(frame, frame.node, node, mark)
        else:
            frame.key, frame.key_mark, frame.awaits_value = self._read_key(node, mark), mark, True
            frame.is_template = isinstance(node, MappingNode)

    def _read_key(self, node: Node, mark: Mark) -> str | None:
        if isinstance(node, ScalarNode) and node.text:
            return node.text
        hint = "a key is missing in front of the colon"
        if isinstance(node, MappingNode | SequenceNode):
            hint = "a key must be plain text; if this is a template such as {{context.name}}, put it in quotes"
        self.faults.append(Fault(mark, hint))
        return None

    def _place_value(self, frame: _Frame, mapping: MappingNode, node: Node, mark: Mark) -> None:
        key, frame.key, frame.awaits_value = frame.key, None, False
        if key is None:
            return
        if key == "<<":
            if _can_merge(node):
                frame.merges.append(node)
            else:
                self.faults.append(Fault(mark, '"<<" merges mappings; give it an alias of one, or a list of aliases'))
            return
        if (earlier := mapping.entries.get(key)) is not None:
            message = f"{quote(key)} stands here twice, {_first_at(earlier.key_mark)}; remove one of the two"
            self.faults.append(Fault(frame.key_mark, message, earlier.key_mark))
            return
        mapping.entries[key] = Entry(frame.key_mark, node)

    def _read_scalar(self, event: yaml.ScalarEvent, mark: Mark) -> ScalarNode:
        text: str = event.value
        plain = event.style in (None, "")
        node = ScalarNode(text, text, mark, literal=event.style == "|", quoted=not plain)
        if event.tag is None and plain:
            node.value = resolve(text, self.dialect)
            if self.dialect is Dialect.KUBERNETES and text in OLD_BOOLEANS and self._awaits_value():
                meant = str(node.value).lower()
                self.warnings.append(
                    Fault(
                        mark, f'{text} is read as {meant}, as kubectl does; write {meant}, or "{text}" if text is meant'
                    )
                )
        elif event.tag not in (None, "!", _TAG + "str"):
            self._read_tagged(node, event.tag, mark)
        return node

    def _awaits_value(self) -> bool:
        return bool(self._frames) and (isinstance(self._frames[-1].node, SequenceNode) or self._frames[-1].awaits_value)

    def _read_tagged(self, node: ScalarNode, tag: str, mark: Mark) -> None:
        kinds: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (float, int),
            "bool": (bool,),
            "null": (type(None),),
        }
        kind = kinds.get(tag.removeprefix(_TAG))
        if kind is None:
            self.faults.append(Fault(mark, _UNKNOWN_TAG))
            return
        value = resolve(node.text, self.dialect)
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
            self.faults.append(Fault(mark, "this is not what its tag says; remove the tag"))
        node.value = value


def _mark_of(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start is not None else _START


def _can_merge(node: Node) -> bool:
    if isinstance(node, SequenceNode):
        return all(isinstance(item, MappingNode) for item in node.items)
    return isinstance(node, MappingNode)


def _entries_to_merge(node: Node) -> dict[str, Entry]:
    sources = node.items if isinstance(node, SequenceNode) else [node]
    merged: dict[str, Entry] = {}
    for source in sources:
        if isinstance(source, MappingNode):
            for key, entry in source.entries.items():
                merged.setdefault(key, entry)
    return merged
