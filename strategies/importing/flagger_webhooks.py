"""The webhooks of a Flagger Canary, by type -> webhooks, approvals and conditions of a deploy file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from strategies.importing.draft import Draft, Part, Step, approval, run_webhook
from strategies.importing.go_durations import duration
from strategies.importing.input_file import InputObject
from strategies.importing.subjects import Lost, Subject
from strategies.places import Place
from strategies.suggestions import quote
from strategies.yaml_document import to_plain

_LOAD = re.compile(r"(?:^|[\s;&|/])(?:hey|ghz|wrk2?|k6|ab|fortio|vegeta|bombardier|oha|siege|locust)\s")
_LOAD_TYPES = ("ngrinder", "concord")
_LOST: Lost = {
    "disableTLS": ("skipped the check of the certificate", "let the called side have a certificate that is trusted"),
    "muteAlert": ("sent no message when it failed", "there are no messages"),
}
_PHASES = {"pre-rollout": "Progressing", "rollout": "Progressing", "post-rollout": "Succeeded"}
_MOST_RETRIES = 100


@dataclass(slots=True)
class Hooks:
    before_traffic: list[str] = field(default_factory=list)
    during: list[str] = field(default_factory=list)
    confirms_increase: bool = False
    confirms_promotion: bool = False


def read_webhooks(canary: Subject, analysed: Place, item: InputObject, draft: Draft) -> Hooks:
    hooks = Hooks()
    for place in analysed.items("webhooks"):
        _read_webhook(canary, place, item, draft, hooks)
    return hooks


def _read_webhook(canary: Subject, place: Place, item: InputObject, draft: Draft, hooks: Hooks) -> None:
    kind = canary.text(place, "type") or "rollout"
    name = canary.text(place, "name") or kind
    metadata = _metadata(place)
    canary.take(place, "metadata")
    if _is_load(kind, metadata):
        canary.lost(
            place,
            f"{quote(name)} put load on the new version",
            "keep load on it by other means; without requests there is nothing to measure",
        )
        return
    match kind:
        case "confirm-rollout":
            draft.before.append(Step(approval(), beside="confirm-rollout"))
            _confirm(canary, place, name, "before the new version was scaled up")
        case "confirm-traffic-increase":
            hooks.confirms_increase = True
            _confirm(canary, place, name, "before each weight")
        case "confirm-promotion":
            hooks.confirms_promotion = True
            _confirm(canary, place, name, "before the promotion")
        case "pre-rollout" | "rollout" | "post-rollout":
            _call(canary, place, kind, name, metadata, item, draft, hooks)
        case "rollback":
            canary.lost(
                place,
                f"{quote(name)} was asked at every tick whether to roll back",
                "let that side call the daemon's API, or: headgate abort APPLICATION",
            )
        case "event":
            canary.lost(place, f"{quote(name)} was told every event", "follow the daemon's API, or: headgate status --watch")
        case _:
            canary.lost(place, f"{quote(kind)} is no type of webhook that this import knows", "write it by hand")


def _metadata(place: Place) -> Mapping[str, str]:
    found = place.get("metadata")
    plain = to_plain(found.node) if found is not None else {}
    return {str(key): str(value) for key, value in plain.items()} if isinstance(plain, dict) else {}


def _is_load(kind: str, metadata: Mapping[str, str]) -> bool:
    """Whether a webhook of the load tester sends requests, rather than checking something."""
    if metadata.get("type", "") in _LOAD_TYPES:
        return True
    command = metadata.get("cmd", "")
    return _LOAD.search(f" {command} ") is not None or (kind == "rollout" and "upstreamUrl" in metadata)


def _confirm(canary: Subject, place: Place, name: str, when: str) -> None:
    canary.finish(place)
    canary.changed(
        place,
        f"{quote(name)} was asked until it agreed, {when}",
        "a person approves here; a system can, with: headgate approve APPLICATION",
    )


def _call(
    canary: Subject,
    place: Place,
    kind: str,
    name: str,
    metadata: Mapping[str, str],
    item: InputObject,
    draft: Draft,
    hooks: Hooks,
) -> None:
    address = canary.text(place, "url")
    canary.lose(place, _LOST)
    if address is None or not address.startswith(("http://", "https://")):
        canary.error(place.get("url") or place, 'has no "url" that begins with http:// or https://')
        return
    body = {
        "name": item.name,
        "namespace": "{{armory.namespace}}",
        "phase": _PHASES[kind],
        "metadata": dict(metadata),
    }
    webhook: Part = {
        "method": "POST",
        "uriTemplate": address,
        "bodyTemplate": {"inline": json.dumps(body, ensure_ascii=False)},
        "disableCallback": True,
    }
    if (retries := canary.integer(place, "retries")) is not None:
        webhook["retryCount"] = min(retries, _MOST_RETRIES)
    if (seconds := canary.seconds(place, "timeout")) is not None:
        webhook["timeout"] = duration(seconds, least=1)
    called = draft.add_webhook(name, webhook)
    if _is_inside(address):
        canary.fill_in(
            place.get("url") or place,
            f"{address} is an address inside of the cluster, and Headgate runs outside",
            "expose it, and put that address into uriTemplate",
        )
    if kind == "post-rollout":
        draft.after.append(Step(run_webhook(called), beside="post-rollout"))
        canary.changed(place, f"{quote(name)} was called after a failure too", "it is called after a success only")
    elif kind == "pre-rollout":
        hooks.before_traffic.append(called)
    else:
        hooks.during.append(called)
        canary.changed(place, f"{quote(name)} was called at every tick", "it is called once at each weight here")


def _is_inside(address: str) -> bool:
    """Whether it is probably the address of a Service: `http://tester.test/` is one, `https://example.com/` is not."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    host = parts.hostname or ""
    return host.endswith((".svc", ".cluster.local")) or (parts.scheme == "http" and host.count(".") <= 1)
