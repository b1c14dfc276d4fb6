"""Whether the steps of a strategy ask more of a target's routers than these can do: said with the step's place, and what instead.

The steps are looked at in the tree of the file, so that each complaint has its place; the routes are those that the target will
have. The table of who can do what is `strategies.capabilities`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from engine.traffic import FULL_WEIGHT, MatchKind, RoutePlan
from strategies.capabilities import ALL_KINDS, Capabilities, Mirroring, capabilities_of, finest_weight, is_too_coarse
from strategies.compile_target import compile_routes
from strategies.deployfile_models import DeployFile
from strategies.manifest_objects import ManifestObject
from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import listed, quote, suggest
from strategies.traffic_checks import targets_of
from strategies.traffic_step_checks import kind_of, matches_of, values_of
from strategies.weights import WeightError, to_basis_points, to_percent
from strategies.yaml_document import to_plain

Complaint: TypeAlias = tuple[Place, str]


def check_capabilities(root: Place, document: DeployFile, objects: Sequence[ManifestObject], say: FileReport) -> None:
    said: set[tuple[object, ...]] = set()
    for target, place in root.entries("targets"):
        steps = _canary_steps(root, place)
        if not steps and not _sticky_blocks(root, target):
            continue
        chosen = [item for item in objects if target in item.targets]
        for route in compile_routes(document, target, chosen):
            asked = Asked(f"{capabilities_of(route).called} (target {quote(target)})", capabilities_of(route))
            for at, message in (*asked.of_steps(steps, route), *asked.of_sticky(_sticky_blocks(root, target), route)):
                if (at.path, route.kind) not in said:
                    said.add((at.path, route.kind))
                    say.error(at.key_mark, message)
            for at, message in _coarse(steps, route):
                if (at.path, route.name) not in said:
                    said.add((at.path, route.name))
                    say.warn(at.key_mark, message)


def _coarse(steps: Iterable[Place], route: RoutePlan) -> Iterator[Complaint]:
    for weight in (step.at("setWeight", "weight") for step in steps):
        if weight is not None and route.custom is not None and is_too_coarse(route, points := _points(weight)):
            who = f"{route.custom.kind} {route.custom.name}"
            message = f"{who} takes the nearest weight to {to_percent(points)} that a total of {route.custom.total} has; raise it"
            yield weight, message


def _canary_steps(root: Place, target: Place) -> list[Place]:
    used = target.get("strategy")
    named = [one for name, one in root.entries("strategies") if used is not None and used.text == name]
    return list(named[0].items("canary", "steps")) if named else []


def _sticky_blocks(root: Place, target: str) -> list[Place]:
    entries = [entry for entry in root.items("trafficManagement") if target in targets_of(entry, [target])]
    blocks = [block for entry in entries for kind in entry.names for block in entry.items(kind)]
    return [sticky for block in blocks if (sticky := block.get("stickySession")) is not None]


class Asked:
    """What is asked of one router: each complaint with its place."""

    def __init__(self, who: str, known: Capabilities) -> None:
        self._who = who
        self._known = known

    def of_steps(self, steps: Iterable[Place], route: RoutePlan) -> Iterator[Complaint]:
        standing: dict[str, list[Place]] = {}
        for step in steps:
            if (weight := step.at("setWeight", "weight")) is not None:
                standing = {} if _points(weight) == FULL_WEIGHT else standing
                yield from self._of_weight(weight, route)
            if (share := step.at("setMirror", "weight")) is not None:
                yield from self._of_mirror(share)
            if (header_route := step.get("setHeaderRoute")) is not None:
                name, matches = header_route.get("name"), list(matches_of(step))
                standing = {**standing, (name.text or "") if name is not None else "": matches}
                standing = {named: found for named, found in standing.items() if found}
                yield from self._of_header_route(header_route, matches, len(standing))
                yield from self._of_standing(header_route, standing)

    def of_sticky(self, blocks: Iterable[Place], route: RoutePlan) -> Iterator[Complaint]:
        if route.sticky is None or self._known.sticky:
            return
        for block in blocks:
            if (name := block.get("cookieName")) is not None and name.text == route.sticky.cookie:
                yield self._more(block, "stickySession")

    def _more(self, place: Place, what: str) -> Complaint:
        return place, f"{quote(what)} is more than {self._who} can do; {self._known.instead}"

    def _of_weight(self, place: Place, route: RoutePlan) -> Iterator[Complaint]:
        points, finest = _points(place), finest_weight(route)
        if finest is not None and points % finest:
            yield place, f"{self._who} takes weights in steps of {to_percent(finest)}, not {to_percent(points)}; round it"

    def _of_mirror(self, share: Place) -> Iterator[Complaint]:
        points = _points(share)
        if not points:
            return
        if self._known.mirroring is Mirroring.NONE:
            yield self._more(share, "setMirror")

    def _of_header_route(self, place: Place, matches: list[Place], standing: int) -> Iterator[Complaint]:
        known = self._known
        if not known.routes_requests:
            yield self._more(place, "setHeaderRoute")
            return
        if known.most_routes is not None and standing > known.most_routes:
            yield place, f"{self._who} takes {known.most_routes} header route at a time, not {standing}; take one away first"
        if known.most_matches is not None and len(matches) > known.most_matches:
            message = f"{self._who} takes {known.most_matches} match in a header route, not {len(matches)}; keep one of them"
            yield matches[known.most_matches], message
        for match in matches:
            yield from self._of_match(match)

    def _of_standing(self, place: Place, standing: Mapping[str, Sequence[Place]]) -> Iterator[Complaint]:
        if not self._known.one_of_each:
            return
        asked: dict[str, set[str]] = {"header": set(), "cookie": set()}
        for match in (match for matches in standing.values() for match in matches):
            for field, value in values_of(match):
                if field in asked:
                    asked[field].add(str(to_plain(value.node)))
        for field, different in asked.items():
            if len(different) > 1:
                message = f"{self._who} asks for one {field} at a time, not for {len(different)}; keep one of them"
                yield place, message

    def _of_match(self, match: Place) -> Iterator[Complaint]:
        known, values, method = self._known, list(values_of(match)), match.get("method")
        count = len(values) + (method is not None)
        if known.most_conditions is not None and count > known.most_conditions:
            yield match, f"{self._who} asks a request for {known.most_conditions} thing, not for {count}; keep one of them"
        cookies = [value for field, value in values if field == "cookie"]
        if known.cookies and len(cookies) > known.most_cookies:
            message = f"{self._who} asks for at most {known.most_cookies} cookies at once, not for {len(cookies)}; take some out"
            yield cookies[known.most_cookies], message
        for field, value in values:
            yield from self._of_value(field, value)
        if method is not None:
            yield from self._of_method(method)

    def _of_value(self, field: str, value: Place) -> Iterator[Complaint]:
        known = self._known
        kinds = {"header": known.headers, "cookie": known.cookies, "path": known.paths}[field]
        found = kind_of(value)
        kind = found.path[-1] if found is not None else ""
        if known.any_method and field == "path":
            kinds = ALL_KINDS
        if not kinds:
            yield value, f"{self._who} cannot tell requests by their {field}; {known.instead}"
        elif found is not None and kind not in kinds:
            can = listed([str(one) for one in MatchKind if one in kinds], joint="or").replace('"', "")
            written = f": here {quote(_as_regex(found))}" if MatchKind.REGEX in kinds and kind == MatchKind.PREFIX else ""
            yield found, f"{self._who} cannot match a {field} by {kind}; write {can}{written}"
        elif found is not None and field == "cookie" and known.cookie_value and found.text != known.cookie_value:
            yield found, f"{self._who} can ask a cookie for the value {quote(known.cookie_value)} only"
        elif found is not None and field == "path" and kind != MatchKind.REGEX and _lacks_slash(found, known):
            yield found, f'{found.label} is {quote(found.text or "")}; a path begins with "/"'

    def _of_method(self, method: Place) -> Iterator[Complaint]:
        known = self._known
        if known.any_method or method.text is None:
            return
        if not known.methods:
            yield method, f"{self._who} cannot tell requests by their method; {known.instead}"
        elif method.text not in known.methods:
            meant = suggest(method.text, known.methods)
            yield method, f"{method.label} is {quote(method.text)}, which is no method of HTTP; {meant}"


def _lacks_slash(path: Place, known: Capabilities) -> bool:
    return not known.any_method and path.text is not None and not path.text.startswith("/")


def _as_regex(prefix: Place) -> str:
    """The dots and the like of a header's value are few, and a person reads this."""
    return "".join(f"\\{letter}" if letter in r"\.+*?()[]{}|^$" else letter for letter in prefix.text or "") + ".*"


def _points(weight: Place) -> int:
    try:
        return to_basis_points(weight.value)
    except WeightError:
        return 0
