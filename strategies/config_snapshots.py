"""`snapshotConfig`: each version of a Deployment reads its own copies of its ConfigMaps and Secrets. Pure.

A pod of the old version that restarts in the middle of a rollout reads its configuration again. So that it reads the old one, the
new version's is applied under another name, made of its content, and the new template refers to that.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.model import ManifestPlan, WorkloadPlan
from strategies.config_references import CONFIG_MAP, SECRET, references_of

JsonObject = dict[str, Any]

COPY_LABEL = "headgate.dev/config-copy"
ORIGINAL_ANNOTATION = "headgate.dev/copy-of"
WORKLOADS_ANNOTATION = "headgate.dev/copy-for"
"""The Deployments that the copy was made for, with commas between."""
_LONGEST_NAME = 253
_HASH_LETTERS = 10
_SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_CONTENT = ("data", "binaryData", "type")
_SAYS_NOTHING = frozenset(
    {"metadata", "selector", "matchLabels", "labels", "ports", "scaleTargetRef", "roleRef", "volumeMounts", "image"}
)
"""Fields below which a name that is also a ConfigMap's does not mean it."""
_NAMES_ITSELF = frozenset({"containers", "initContainers", "volumes", "env"})
"""Lists whose items have names of their own."""

Key = tuple[str, str]
"""(kind, name)."""


def snapshot_config(
    workloads: Sequence[WorkloadPlan], manifests: Sequence[ManifestPlan]
) -> tuple[tuple[WorkloadPlan, ...], tuple[ManifestPlan, ...]]:
    """The plan's workloads, referring to copies, and its manifests with the copies among them.

    Only what is among the manifests has copies. The original is left out, unless something else may refer to it.
    """
    bodies: dict[str, JsonObject] = {one.key: json.loads(one.content) for one in manifests}
    originals = {_key_of(body): key for key, body in bodies.items() if _holds_configuration(body)}
    templates: dict[str, JsonObject] = {one.name: json.loads(one.manifest) for one in workloads}
    users: dict[Key, list[str]] = defaultdict(list)
    for name, body in templates.items():
        for reference in references_of(body["spec"]["template"]):
            if (reference.kind, reference.name) in originals:
                users[reference.kind, reference.name].append(name)
    copies = {key: _copy(bodies[originals[key]], sorted(set(names))) for key, names in users.items()}
    for body in templates.values():
        _refer_to_copies(body, copies)
    mentioned = set(_mentioned([*templates.values(), *(one for one in bodies.values() if not _holds_configuration(one))]))
    return (
        tuple(WorkloadPlan(one.name, _to_json(templates[one.name]), one.expects, one.keeps_count) for one in workloads),
        tuple(_with_copies(manifests, {originals[key]: body for key, body in copies.items()}, mentioned)),
    )


def copied_kinds(manifests: Iterable[ManifestPlan]) -> list[str]:
    """ConfigMap, Secret, both or neither."""
    return sorted({one.copy_of.partition("/")[0] for one in manifests if one.copy_of})


def _with_copies(
    manifests: Iterable[ManifestPlan], copies: Mapping[str, JsonObject], mentioned: set[str]
) -> Iterator[ManifestPlan]:
    for manifest in manifests:
        made = copies.get(manifest.key)
        if made is None or manifest.key.partition("/")[2] in mentioned:
            yield manifest
        if made is not None:
            yield ManifestPlan(f"{made['kind']}/{made['metadata']['name']}", _to_json(made), copy_of=manifest.key)


def _holds_configuration(body: JsonObject) -> bool:
    return body["apiVersion"] == "v1" and body["kind"] in (CONFIG_MAP, SECRET)


def _key_of(body: JsonObject) -> Key:
    return body["kind"], body["metadata"]["name"]


def _refer_to_copies(body: JsonObject, copies: Mapping[Key, JsonObject]) -> None:
    for reference in references_of(body["spec"]["template"]):
        made = copies.get((reference.kind, reference.name))
        if made is not None:
            reference.point_to(made["metadata"]["name"])


def _copy(body: JsonObject, workloads: Sequence[str]) -> JsonObject:
    """It is immutable: what was tested is what is read, and kubelets need not watch it."""
    made = copy.deepcopy(body)
    metadata, name = made["metadata"], body["metadata"]["name"]
    letters = _hash({field: body.get(field) or {} for field in _CONTENT} | {"kind": body["kind"]})
    metadata["name"] = f"{name[: _LONGEST_NAME - _HASH_LETTERS - 1].rstrip('-.')}-{letters}"
    metadata["labels"] = {**(metadata.get("labels") or {}), COPY_LABEL: "true"}
    notes = {ORIGINAL_ANNOTATION: name, WORKLOADS_ANNOTATION: ",".join(workloads)}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **notes}
    return {**made, "immutable": True}


def _hash(content: JsonObject) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(_HASH_LETTERS):
        number, index = divmod(number, len(_SAFE_ALPHABET))
        letters.append(_SAFE_ALPHABET[index])
    return "".join(letters)


def _mentioned(bodies: Iterable[JsonObject]) -> Iterator[str]:
    """Every text that may be the name of a ConfigMap or Secret: an Ingress's certificate, a role's `resourceNames`, a volume of a
    Job. One too many costs an object that nobody reads; one too few would take away what somebody does."""
    waiting: list[tuple[object, bool]] = [(body, False) for body in bodies]
    while waiting:
        value, names_itself = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting.extend((one, names_itself) for one in value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if key not in _SAYS_NOTHING and not (names_itself and key == "name"):
                    waiting.append((inner, key in _NAMES_ITSELF))


def _to_json(body: JsonObject) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
