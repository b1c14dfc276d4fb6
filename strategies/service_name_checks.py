"""Whether the Services that a block of traffic management names, or leaves to be named, can be what they are to be."""

from __future__ import annotations

from collections.abc import Iterable

from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import quote

_LONGEST_NAME = 63


def check_services_differ(block: Place, say: FileReport) -> None:
    """Root, stable and canary Service of a block are three, and the names that are left out can be made."""
    root_name = _text(block, "rootServiceName")
    if root_name is None:
        return
    names = {
        "rootServiceName": root_name,
        "stableServiceName": _text(block, "stableServiceName") or f"{root_name}-stable",
        "canaryServiceName": _text(block, "canaryServiceName") or f"{root_name}-canary",
    }
    seen: dict[str, str] = {}
    for field, name in names.items():
        if field not in block.names and len(name) > _LONGEST_NAME:
            say.error(
                block.mark,
                f'"{name}" is longer than the {_LONGEST_NAME} characters of a Service name; give a "{field}"',
            )
        first = seen.setdefault(name, field)
        if first != field:
            place = block.get(field) or block.get(first) or block
            say.error(place.mark, f"{first} and {field} are both {quote(name)}; each has to be a Service of its own")


def check_used_once(target: str, blocks: Iterable[Place], fields: Iterable[str], say: FileReport) -> None:
    """Each of these fields has another name in each block of a target. A TrafficSplit without a name has its root Service's."""
    for field in fields:
        taken: dict[str, Place] = {}
        for block in blocks:
            given = block.get(field) or (block.get("rootServiceName") if field == "trafficSplitName" else None)
            if given is None or given.text is None:
                continue
            first = taken.setdefault(given.text, given)
            if first is not given:
                at = f"{first.mark.line}:{first.mark.column}"
                message = (
                    f"the target {quote(target)} uses {quote(given.text)} as {field} a second time, the first at {at}; "
                )
                say.error(given.mark, message + 'name another, or limit the entries with "targets"')


def _text(block: Place, field: str) -> str | None:
    place = block.get(field)
    return place.text if place is not None else None
