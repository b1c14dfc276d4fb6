"""From a request to its answer: every path but the watches, which are streams and belong to the server.

It knows paths, options and status codes, and hands the work to the modules that know what it means. It knows no sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from adapters.embedded import deleting, discovery, openapi, reading, scaling, writing
from adapters.embedded.access import USER, Access
from adapters.embedded.decoding import repeated_fields
from adapters.embedded.errors import ApiError, Forbidden, MethodNotAllowed, UnknownPath
from adapters.embedded.history import StoredObject
from adapters.embedded.json_objects import JsonObject, encode_json, format_time, value_at
from adapters.embedded.options import WriteOptions, deletion_options, read_options, write_options
from adapters.embedded.patches import APPLY_PATCH
from adapters.embedded.pod_logs import log_of
from adapters.embedded.representations import Presenter, negotiate
from adapters.embedded.resources import ENDPOINTS
from adapters.embedded.reviews import answer_review
from adapters.embedded.routes import Target, Verb, find_target
from adapters.embedded.storage import Storage
from adapters.embedded.tables import columns_for

JSON = "application/json"

_ENDPOINTS_ARE_OLD = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
_HEALTH_PATHS = ("healthz", "livez", "readyz")
_RESOURCE_ROOTS = ("/api/", "/apis/")


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its body; `target` is None outside of the resources."""

    method: str
    path: str
    query: Mapping[str, str]
    accept: str
    media_type: str
    user_agent: str
    body: bytes
    target: Target | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def error_answer(error: ApiError) -> Answer:
    """The answer that tells an error."""
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Answer(error.code, encode_json(error.to_status()), headers=headers, warnings=error.warnings)


def _json_answer(body: JsonObject, status: int = 200) -> Answer:
    return Answer(status, encode_json(body))


class Dispatcher:
    """Answers the requests to one storage."""

    def __init__(self, storage: Storage, access: Access, server_address: Callable[[], str]) -> None:
        self._storage = storage
        self._access = access
        self._server_address = server_address

    def find_target(self, method: str, path: str, query: Mapping[str, str]) -> Target | None:
        """The resource that is asked for, None for discovery and the like.

        Raises:
            ApiError: there is no such resource, or it may not be asked for.
        """
        if not path.startswith(_RESOURCE_ROOTS):
            return None
        parts = [part for part in path.split("/") if part]
        if len(parts) <= (2 if parts[0] == "api" else 3) or parts[1:2] in (["authorization.k8s.io"], ["authentication.k8s.io"]):
            return None
        target = find_target(self._storage.registry, method, path, query)
        self._access.check(target)
        return target

    async def answer(self, request: Request) -> Answer:
        """The answer to a request.

        Raises:
            ApiError: the request fails; `error_answer` tells how.
        """
        target = request.target
        if target is None:
            return self._answer_outside(request)
        answer = await self._answer_about(request, target)
        if target.resource == ENDPOINTS:
            return replace(answer, warnings=(_ENDPOINTS_ARE_OLD, *answer.warnings))
        return answer

    async def _answer_about(self, request: Request, target: Target) -> Answer:
        if target.subresource == "scale":
            return self._scale(request, target)
        if target.subresource == "log":
            pod = self._storage.get(target.resource, target.namespace, target.name)
            return Answer(200, log_of(pod, request.query), "text/plain")
        if target.subresource in {"binding", "eviction", "token"}:
            return self._act(request, target)
        match target.verb:
            case Verb.GET:
                return await self._get(request, target)
            case Verb.LIST:
                return await self._list(request, target)
            case Verb.DELETE | Verb.DELETE_COLLECTION:
                return self._delete(request, target)
            case _:
                return self._write(request, target)

    def presenter(self, target: Target, accept: str, include: str = "Metadata") -> Presenter:
        """How the objects of a target are written for a client that accepts this."""
        resource, kinds = target.resource, self._storage.custom_kinds
        return Presenter(
            resource,
            negotiate(accept),
            lambda: columns_for(resource, kinds.version_of(resource) if resource.custom else None),
            lambda: self._storage.now,
            include,
        )

    # Objects

    async def _get(self, request: Request, target: Target) -> Answer:
        options = read_options(request.query, watch=False)
        presenter = self.presenter(target, request.accept, options.include_object)
        await reading.reach_version(self._storage, options.resource_version)
        return Answer(200, presenter.write_object(reading.get_object(self._storage, target)))

    async def _list(self, request: Request, target: Target) -> Answer:
        options = read_options(request.query, watch=False)
        presenter = self.presenter(target, request.accept, options.include_object)
        await reading.reach_version(self._storage, options.resource_version)
        listing = reading.list_objects(self._storage, target, options)
        return Answer(200, presenter.write_list(listing.objects, listing.metadata))

    def _write(self, request: Request, target: Target) -> Answer:
        presenter = self.presenter(target, request.accept)
        media_type = request.media_type
        if target.verb is Verb.PATCH:
            options = _write_options(request, target)
            return _written(
                presenter, writing.patch(self._storage, target, request.body, media_type, options)
            )
        options = _write_options(request, target)
        obj = writing.decode_object(self._storage.registry, target, request.body, media_type)
        write = writing.create if target.verb is Verb.CREATE else writing.update
        repeated = repeated_fields(request.body) if options.field_validation != "Ignore" else []
        return _written(presenter, write(self._storage, target, obj, options, repeated))

    def _delete(self, request: Request, target: Target) -> Answer:
        body = writing.decode_mapping(request.body, request.media_type) if request.body else {}
        options = deletion_options(request.query, body)
        if target.verb is Verb.DELETE:
            status, left = deleting.delete(self._storage, target, options)
            if left.get("kind") != "Status":
                return Answer(status, self.presenter(target, request.accept).write_object(StoredObject(left, 0)))
            return _json_answer(left, status)
        selection = read_options(request.query, watch=False)
        listing = deleting.delete_collection(self._storage, target, selection, options)
        return Answer(200, self.presenter(target, request.accept).write_list(listing.objects, listing.metadata))

    def _scale(self, request: Request, target: Target) -> Answer:
        if target.verb is Verb.GET:
            return _json_answer(scaling.get_scale(self._storage, target))
        options = _write_options(request, target)
        change = scaling.patch_scale if target.verb is Verb.PATCH else scaling.update_scale
        written = change(self._storage, target, request.body, request.media_type, options)
        return _json_answer(scaling.scale_of(written.stored.object, scaling.paths_of(self._storage, target)))

    def _act(self, request: Request, target: Target) -> Answer:
        body = writing.decode_body(request.body, request.media_type)
        if target.subresource == "eviction":
            return _json_answer(deleting.evict(self._storage, target), 201)
        if target.subresource == "binding":
            return _json_answer(deleting.bind(self._storage, target, value_at(body, "target", "name") or ""), 201)
        self._storage.stored(target.resource, target.namespace, target.name)
        now = format_time(self._storage.now)
        status = {"token": f"embedded-{target.namespace}-{target.name}", "expirationTimestamp": now}
        return _json_answer({**body, "status": status}, 201)

    # Everything else

    def _answer_outside(self, request: Request) -> Answer:
        parts = [part for part in request.path.split("/") if part]
        if request.method == "POST" and len(parts) >= 4 and parts[0] == "apis":
            return self._review(request, parts[-1])
        if request.method not in {"GET", "HEAD"}:
            raise MethodNotAllowed()
        if parts[:1] and parts[0] in _HEALTH_PATHS:
            return Answer(200, b"ok", "text/plain")
        try:
            return self._describe(request, parts)
        except KeyError:
            raise UnknownPath() from None

    def _review(self, request: Request, plural: str) -> Answer:
        if not self._access.answers_reviews:
            raise Forbidden(f'{plural}.authorization.k8s.io is forbidden: User "{USER}" cannot create resource "{plural}"')
        review = writing.decode_body(request.body, request.media_type)
        answered = answer_review(plural, review if isinstance(review, dict) else {}, self._access)
        if answered is None:
            raise UnknownPath()
        return _json_answer(answered, 201)

    def _describe(self, request: Request, parts: list[str]) -> Answer:
        """Discovery; KeyError for a group, version or document that is not there."""
        registry = self._storage.registry
        if parts[:1] == ["openapi"]:
            return self._describe_schemas(request, parts[1:])
        if parts in (["api"], ["apis"]) and _reads_aggregated(request.accept):
            return Answer(200, encode_json(discovery.aggregated(registry, core=parts == ["api"])), discovery.AGGREGATED)
        match parts:
            case []:
                return _json_answer({"paths": ["/api", "/apis", "/healthz", "/openapi/v2", "/openapi/v3", "/version"]})
            case ["version"]:
                return _json_answer(discovery.VERSION_INFO)
            case ["api"]:
                return _json_answer(discovery.core_versions(self._server_address()))
            case ["apis"]:
                return _json_answer(discovery.group_list(registry))
            case ["api", version]:
                return _json_answer(discovery.resource_list(registry, "", version))
            case ["apis", group]:
                return _json_answer(discovery.group(registry, group))
            case ["apis", group, version]:
                return _json_answer(discovery.resource_list(registry, group, version))
        raise UnknownPath()

    def _describe_schemas(self, request: Request, parts: list[str]) -> Answer:
        registry = self._storage.registry
        match parts:
            case ["v2"] if "proto" in request.accept:
                return Answer(200, openapi.EMPTY_V2_PROTOBUF, openapi.V2_PROTOBUF)
            case ["v2"]:
                return _json_answer(openapi.EMPTY_V2)
            case ["v3"]:
                return _json_answer(openapi.paths(registry))
            case ["v3", *root]:
                return _json_answer(openapi.document(registry, self._storage.custom_kinds, "/".join(root)))
        raise UnknownPath()


def _write_options(request: Request, target: Target) -> WriteOptions:
    kind = f"{target.verb.value.capitalize()}Options"
    is_apply = target.verb is Verb.PATCH and request.media_type == APPLY_PATCH
    return write_options(request.query, request.user_agent, kind, apply=is_apply)


def _reads_aggregated(accept: str) -> bool:
    """Whether a client can read everything at once, in the version that is written here."""
    tidy = accept.replace(" ", "") + ";"
    return "as=APIGroupDiscoveryList" in tidy and ";v=v2;" in tidy


def _written(presenter: Presenter, written: writing.Written) -> Answer:
    status = 201 if written.created else 200
    return Answer(status, presenter.write_object(written.stored), warnings=tuple(written.warnings))
