"""Whether the Services and objects that traffic management names can work together, as far as the file alone tells."""

from __future__ import annotations

from collections.abc import Iterable

from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import quote

_LONGEST_NAME = 63


def check_traffic(root: Place, say: FileReport) -> None:
    for index, entry in enumerate(root.items("trafficManagement")):
        if entry.is_mapping and not {"smi", "istio", "kubernetes"} & set(entry.names):
            say.error(entry.mark, f'trafficManagement[{index}] moves no traffic; add "smi", "istio" or "kubernetes"')
        for block in entry.items("smi"):
            _check_smi(block, say)
        for pair in entry.items("kubernetes"):
            active, preview = _text(pair, "activeService"), _text(pair, "previewService")
            if active is not None and active == preview:
                say.error(
                    pair.mark,
                    f"activeService and previewService are both {quote(active)}; name another preview Service",
                )
    for target, blocks in smi_blocks(root).items():
        _check_names_of_target(target, blocks, say)


def targets_of(entry: Place, everywhere: Iterable[str]) -> list[str]:
    """The targets that a manifest or traffic entry is for: those that it names, or all of them when it names none."""
    if entry.get("targets") is None:
        return list(everywhere)
    named = {item.text for item in entry.items("targets")}
    return [name for name in everywhere if name in named]


def smi_blocks(root: Place) -> dict[str, list[Place]]:
    """The TrafficSplits that each target asks for, in the file's order. Targets without any are left out."""
    everywhere = [name for name, _ in root.entries("targets")]
    blocks: dict[str, list[Place]] = {}
    for entry in root.items("trafficManagement"):
        found = list(entry.items("smi"))
        for name in targets_of(entry, everywhere) if found else ():
            blocks.setdefault(name, []).extend(found)
    return blocks


def _check_smi(block: Place, say: FileReport) -> None:
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


def _check_names_of_target(target: str, blocks: list[Place], say: FileReport) -> None:
    for field in ("rootServiceName", "trafficSplitName", "canaryServiceName", "stableServiceName"):
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
