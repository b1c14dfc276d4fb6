"""Whether the Services and objects that traffic management names can work together, as far as the file alone tells."""

from __future__ import annotations

from collections.abc import Iterable

from strategies.effect_checks import check_effect
from strategies.istio_checks import check_istio, check_istio_of_target
from strategies.places import Place
from strategies.problems import FileReport
from strategies.router_checks import ROUTER_BLOCKS, check_router_blocks, check_routers_of_target
from strategies.service_name_checks import check_services_differ, check_used_once
from strategies.suggestions import listed, quote

CANARY_BLOCKS = ("smi", "istio", *ROUTER_BLOCKS)
_OF_SPLITS = ("rootServiceName", "trafficSplitName", "canaryServiceName", "stableServiceName")


def check_traffic(root: Place, say: FileReport) -> None:
    for index, entry in enumerate(root.items("trafficManagement")):
        if entry.is_mapping and not {*CANARY_BLOCKS, "kubernetes"} & set(entry.names):
            known = listed((*CANARY_BLOCKS, "kubernetes"), joint="or")
            say.error(entry.mark, f"trafficManagement[{index}] moves no traffic; add {known}")
        check_effect(entry, root, say)
        for block in entry.items("smi"):
            check_services_differ(block, say)
            _check_matches(block, say)
        check_istio(entry.items("istio"), say)
        check_router_blocks(entry, say)
        for pair in entry.items("kubernetes"):
            active, preview = _text(pair, "activeService"), _text(pair, "previewService")
            if active is not None and active == preview:
                say.error(
                    pair.mark,
                    f"activeService and previewService are both {quote(active)}; name another preview Service",
                )
    smi, istio = smi_blocks(root), blocks_of(root, "istio")
    for target, blocks in smi.items():
        check_used_once(target, blocks, _OF_SPLITS, say)
    for target, pairs in service_pairs(root).items():
        _check_pairs(pairs, target, say)
    _check_unused(root, say)
    for target, blocks in istio.items():
        check_istio_of_target(target, blocks, smi.get(target, ()), say)
    by_kind = {kind: blocks_of(root, kind) for kind in CANARY_BLOCKS}
    for target, _ in root.entries("targets"):
        check_routers_of_target(target, {kind: blocks.get(target, []) for kind, blocks in by_kind.items()}, say)


def targets_of(entry: Place, everywhere: Iterable[str]) -> list[str]:
    """The targets that a manifest or traffic entry is for: those that it names, or all of them when it names none."""
    if entry.get("targets") is None:
        return list(everywhere)
    named = {item.text for item in entry.items("targets")}
    return [name for name in everywhere if name in named]


def smi_blocks(root: Place) -> dict[str, list[Place]]:
    """The TrafficSplits that each target asks for, in the file's order. Targets without any are left out."""
    return blocks_of(root, "smi")


def blocks_of(root: Place, kind: str) -> dict[str, list[Place]]:
    everywhere = [name for name, _ in root.entries("targets")]
    blocks: dict[str, list[Place]] = {}
    for entry in root.items("trafficManagement"):
        found = list(entry.items(kind))
        for name in targets_of(entry, everywhere) if found else ():
            blocks.setdefault(name, []).extend(found)
    return blocks


def blue_green_of(root: Place, target: Place) -> Place | None:
    """The blue/green part of the strategy that a target uses."""
    used = target.get("strategy")
    named = [strategy for name, strategy in root.entries("strategies") if used is not None and used.text == name]
    return named[0].get("blueGreen") if named and named[0].get("canary") is None else None


def service_pairs(root: Place) -> dict[str, list[Place]]:
    """The Services of each target with a blue/green strategy, in the file's order: those of `trafficManagement`, else the
    strategy's own, as older files have them. Such targets are here also when they have none."""
    everywhere = [name for name, _ in root.entries("targets")]
    pairs: dict[str, list[Place]] = {}
    for name, target in root.entries("targets"):
        strategy = blue_green_of(root, target)
        if strategy is None:
            continue
        entries = [entry for entry in root.items("trafficManagement") if name in targets_of(entry, everywhere)]
        pairs[name] = [pair for entry in entries for pair in entry.items("kubernetes")]
        if not pairs[name] and strategy.get("activeService") is not None:
            pairs[name] = [strategy]
    return pairs


def _check_unused(root: Place, say: FileReport) -> None:
    """Traffic objects of the other kind of strategy: they would be left alone, and somebody expects something of them."""
    everywhere = [name for name, _ in root.entries("targets")]
    switching = service_pairs(root)
    for entry in root.items("trafficManagement"):
        concerned = targets_of(entry, everywhere)
        for kind, unused in (
            *((block, [name for name in concerned if name in switching]) for block in CANARY_BLOCKS),
            ("kubernetes", [name for name in concerned if name not in switching]),
        ):
            if unused and any(True for _ in entry.items(kind)):
                uses = "blue/green strategies use" if kind == "kubernetes" else "canary strategies use"
                names = listed(unused)
                say.warn(entry.mark_of(kind), f'only {uses} "{kind}", so it means nothing to {names}; name its "targets"')


def _check_pairs(pairs: list[Place], target: str, say: FileReport) -> None:
    taken: dict[str, Place] = {}
    for pair in pairs:
        for field in ("activeService", "previewService"):
            given = pair.get(field)
            if given is None or given.text is None:
                continue
            first = taken.setdefault(given.text, given)
            if first is not given and _text(pair, "activeService") != _text(pair, "previewService"):
                at = f"{first.mark.line}:{first.mark.column}"
                message = f"the target {quote(target)} uses the Service {quote(given.text)} a second time, the first at {at}; "
                say.error(given.mark, message + 'name another, or limit the entries with "targets"')


def _check_matches(block: Place, say: FileReport) -> None:
    groups: dict[str, Place] = {}
    for item in block.items("matches"):
        first = groups.setdefault(item.text or "", item)
        if item.text is not None and first is not item:
            at = f"{first.mark.line}:{first.mark.column}"
            what = f"matches name the HTTPRouteGroup {quote(item.text)}"
            say.error(item.mark, f"{what} a second time, the first at {at}; remove one")


def _text(block: Place, field: str) -> str | None:
    place = block.get(field)
    return place.text if place is not None else None
