"""What the API answers to, as an OpenAPI document: made of the bodies themselves, served at `/v1/openapi.json` and kept in
`docs/openapi.json` (`python -m adapters.http.openapi`; a test keeps it current, and holds it against the routes).

The page and the previews are for browsers and are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from adapters.http.bodies import (
    MOST_BODY_BYTES,
    Accepted,
    CallbackBody,
    CallbackTaken,
    CallerBody,
    CommandBody,
    CommandTaken,
    Failure,
    FolderList,
    Health,
    JournalBody,
    OffersBody,
    OverviewLine,
    ReleaseDetail,
    ReleaseList,
    RetryBody,
    RollbackBody,
    SubmitBody,
    WatchLine,
)
from adapters.http.service import MOST_SEARCHED

PATH = "/v1/openapi.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "openapi.json"
JSON, LINES, TEXT = "application/json", "application/x-ndjson", "text/plain"
_CALLBACK = "/v1/callbacks/{rollout}/{token}/callback"
_REFERENCE = "#/components/schemas/{name}"

Document: TypeAlias = dict[str, Any]

_RELEASE = "A release's id, the beginning of it, or an application for its newest release."
_LIMIT: Document = {"type": "integer", "minimum": 1, "maximum": MOST_SEARCHED, "default": 100}
_LISTED: Mapping[str, Document] = {"limit": _LIMIT, "application": {"type": "string"}}
_TAKEN = HTTPStatus.ACCEPTED


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. Everything that fails is a `Failure`."""

    method: str
    path: str
    summary: str
    answer: Any = None
    """The type of the body of success; None is text."""
    status: HTTPStatus = HTTPStatus.OK
    body: Any = None
    content_type: str = JSON
    query: Mapping[str, Document] | None = None
    is_open: bool = False
    """Whether it is answered to everybody."""


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/v1/releases", "The newest releases.", ReleaseList, query=_LISTED),
    Operation("POST", "/v1/releases", "Begin a release.", Accepted, _TAKEN, SubmitBody),
    Operation("GET", "/v1/releases/{release}", "Where a release stands.", ReleaseDetail),
    Operation("GET", "/v1/releases/{release}/journal", "The whole story of a release.", JournalBody),
    Operation("POST", "/v1/releases/{release}/commands", "Give an order to a release.", CommandTaken, body=CommandBody),
    Operation("GET", "/v1/releases/{release}/offers", "What could follow a release.", OffersBody),
    Operation("POST", "/v1/releases/{release}/rollback", "Take a completed release back.", Accepted, _TAKEN, RollbackBody),
    Operation("POST", "/v1/releases/{release}/retry", "Try what did not succeed again.", Accepted, _TAKEN, RetryBody),
    Operation("GET", "/v1/releases/{release}/watch", "A release as lines, until it ends.", WatchLine, content_type=LINES),
    Operation("GET", "/v1/watch", "All releases as lines.", OverviewLine, content_type=LINES, query={"limit": _LIMIT}),
    Operation("GET", "/v1/caller", "Who the daemon takes the caller for.", CallerBody),
    Operation("GET", "/v1/folders", "The files of the deploy folders.", FolderList),
    Operation("POST", _CALLBACK, "A called side's verdict.", CallbackTaken, body=CallbackBody, is_open=True),
    Operation("GET", PATH, "This document.", dict[str, Any], is_open=True),
    Operation("GET", "/livez", "Whether the daemon lives.", Health, is_open=True),
    Operation("GET", "/readyz", "Whether it can work; 503 with the same body while it cannot.", Health, is_open=True),
    Operation("GET", "/metrics", "The daemon's own figures, as Prometheus reads them.", content_type=TEXT),
)


class OpenApi:
    """Serves the document. It says nothing that is not in the source, so it is for everybody."""

    def __init__(self) -> None:
        self._content = json.dumps(document(), ensure_ascii=False).encode()

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.show)]

    async def show(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._content, content_type=JSON, headers={"Cache-Control": "no-store"})


def document() -> Document:
    schemas, components = _schemas()
    paths: dict[str, Document] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headgate",
            "version": version("headgate"),
            "description": "The owner of the Unix socket may do everything; over TCP a token or a client certificate is shown.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


def _schemas() -> tuple[dict[int, Document], dict[str, Document]]:
    """The schema of each type that operations name, by its identity, and those that these refer to."""
    named = [one for operation in OPERATIONS for one in (operation.answer, operation.body) if one is not None] + [Failure]
    schemas, components = msgspec.json.schema_components(named, ref_template=_REFERENCE)
    return {id(one): schema for one, schema in zip(named, schemas, strict=True)}, components


def _describe(operation: Operation, schemas: Mapping[int, Document]) -> Document:
    success: Document = {"schema": {"type": "string"} if operation.answer is None else schemas[id(operation.answer)]}
    failure: Document = {"content": {JSON: {"schema": schemas[id(Failure)]}}}
    responses: dict[str, Document] = {
        str(int(operation.status)): {"description": operation.status.phrase, "content": {operation.content_type: success}}
    }
    responses |= {str(int(status)): {"description": status.phrase, **failure} for status in _failures(operation)}
    if operation.path == "/readyz":
        responses["503"] = {"description": "Service Unavailable", "content": {JSON: success}}
    described: Document = {
        "summary": operation.summary,
        "operationId": _name(operation),
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query or {})],
        "responses": responses,
        "security": [] if operation.is_open else [{"token": []}, {"certificate": []}],
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "description": f"At most {MOST_BODY_BYTES >> 20} MiB.",
            "content": {JSON: {"schema": schemas[id(operation.body)]}},
        }
    return described


def _failures(operation: Operation) -> Sequence[HTTPStatus]:
    """In order. What the framework refuses (no such method, no HTTP) is not among them."""
    found = {HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INTERNAL_SERVER_ERROR}
    if not operation.is_open:
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if "{" in operation.path:
        found |= {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}
    if operation.query:
        found |= {HTTPStatus.BAD_REQUEST}
    if operation.body is not None:
        found |= {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
        found |= {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_FOUND}
    return sorted(found)


def _name(operation: Operation) -> str:
    words = [part.strip("{}").partition(".")[0] for part in operation.path.split("/") if part and part != "v1"]
    return operation.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _path_parameters(path: str) -> list[Document]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    described = {"release": {"description": _RELEASE}}
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}, **described.get(name, {})}
        for name in names
    ]


def _query_parameters(query: Mapping[str, Document]) -> list[Document]:
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in query.items()]


def render() -> str:
    """The document as it is kept in docs."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
