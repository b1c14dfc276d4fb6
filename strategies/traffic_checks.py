"""Whether the Services and objects that traffic management names can work together, as far as the file alone tells."""

from __future__ import annotations

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
    for name, target in root.entries("targets"):
        _check_target(root, name, target, say)


def blocks_of(root: Place, target: str, kind: str) -> list[Place]:
    """The blocks of one kind of traffic management that concern a target, in the file's order."""
    blocks: list[Place] = []
    for entry in root.items("trafficManagement"):
        if concerns(entry, target):
            blocks.extend(entry.items(kind))
    return blocks


def concerns(entry: Place, target: str) -> bool:
    """Whether a manifest or traffic entry is for a target: it names it, or names none."""
    return entry.get("targets") is None or any(item.text == target for item in entry.items("targets"))


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


def _check_target(root: Place, target: str, place: Place, say: FileReport) -> None:
    for field in ("rootServiceName", "trafficSplitName", "canaryServiceName", "stableServiceName"):
        taken: dict[str, Place] = {}
        for block in blocks_of(root, target, "smi"):
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
