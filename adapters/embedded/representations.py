"""In which form a client wants its answer (content negotiation), and objects and lists in that form, as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache

from adapters.embedded.errors import NotAcceptable
from adapters.embedded.history import StoredObject
from adapters.embedded.json_objects import JsonObject, encode_json
from adapters.embedded.resources import Resource
from adapters.embedded.table_columns import Column
from adapters.embedded.tables import PARTIAL_VERSION, make_table, partial_metadata


class Form(Enum):
    """How objects are written."""

    PLAIN = "plain"
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"


@lru_cache(maxsize=256)
def negotiate(accept: str) -> Form:
    """The form that an Accept header asks for.

    Raises:
        NotAcceptable: it accepts nothing that is served here; JSON is.
    """
    for part in accept.split(",") if accept.strip() else ("*/*",):
        media_type, *parameters = (word.strip() for word in part.split(";"))
        wanted = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media_type not in {"application/json", "application/*", "*/*"}:
            continue
        form = wanted.get("as", "")
        if form and (wanted.get("g"), wanted.get("v")) != ("meta.k8s.io", "v1"):
            continue
        if form == "Table":
            return Form.TABLE
        if form.startswith("PartialObjectMetadata"):
            return Form.PARTIAL
        if not form:
            return Form.PLAIN
    raise NotAcceptable("only the following media types are accepted: application/json")


@dataclass(frozen=True, slots=True)
class Presenter:
    """Writes the objects of one resource in one form.

    Args:
        columns: the columns of a table, asked for only when one is written.
        include: what of each object a table's row carries: None, Metadata or Object.
    """

    resource: Resource
    form: Form
    columns: Callable[[], tuple[Column, ...]]
    now: Callable[[], datetime]
    include: str = "Metadata"

    def write_object(self, stored: StoredObject) -> bytes:
        """One object."""
        if self.form is Form.PLAIN:
            return stored.encoded(self.resource.api_version)
        return encode_json(self._transform(stored.in_version(self.resource.api_version), with_columns=True))

    def write_event(self, change: str, stored: StoredObject, *, first: bool) -> bytes:
        """One line of a watch."""
        if self.form is Form.PLAIN:
            body = stored.encoded(self.resource.api_version)
        else:
            obj = stored.in_version(self.resource.api_version)
            body = encode_json(self._transform(obj, with_columns=first))
        return b'{"type":"' + change.encode() + b'","object":' + body + b"}\n"

    def write_list(self, stored: Iterable[StoredObject], metadata: JsonObject) -> bytes:
        """A list with its metadata (resourceVersion and, of a part, continue and remainingItemCount)."""
        version = self.resource.api_version
        if self.form is Form.TABLE:
            objects = (each.in_version(version) for each in stored)
            return encode_json(make_table(self.columns(), objects, metadata, self.now(), include=self.include))
        if self.form is Form.PARTIAL:
            items = [partial_metadata(each.in_version(version)) for each in stored]
            kind = "PartialObjectMetadataList"
            return encode_json({"kind": kind, "apiVersion": PARTIAL_VERSION, "metadata": metadata, "items": items})
        if self.resource.custom:
            metadata = {"continue": "", **metadata}
        head = encode_json({"kind": self.resource.list_kind, "apiVersion": version, "metadata": metadata})
        return head[:-1] + b',"items":[' + b",".join(self._write_items(stored)) + b"]}"

    def _write_items(self, stored: Iterable[StoredObject]) -> Iterable[bytes]:
        """The items of a list: those of built-in kinds come without apiVersion and kind, as from the real server."""
        version = self.resource.api_version
        if self.resource.custom:
            return (each.encoded(version) for each in stored)
        head = encode_json({"apiVersion": version, "kind": self.resource.kind})[:-1] + b","
        return (_without_head(each.encoded(version), head) for each in stored)

    def _transform(self, obj: JsonObject, *, with_columns: bool) -> JsonObject:
        if self.form is Form.PARTIAL:
            return partial_metadata(obj)
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        now, include = self.now(), self.include
        return make_table(self.columns(), [obj], metadata, now, include=include, with_columns=with_columns)


def _without_head(body: bytes, head: bytes) -> bytes:
    return b"{" + body[len(head) :] if body.startswith(head) else body
