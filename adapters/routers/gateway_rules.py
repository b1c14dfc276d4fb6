"""The list of rules of an HTTPRoute or GRPCRoute, as it was found and as it is ordered: weights, and what stands beside them.
Pure.

The list is atomic in its definition, so it is always looked at and written as a whole. Rules of the user's are told by whom
they name: those with the root Service are divided between both versions. Ours are told by naming the new version alone, as no
rule of the user's does. They stand right in front of the rule that they narrow, and are copies of it: its filters and timeouts
hold for them too. Everybody else's rules, and all other fields of a divided one, are as they are found at each write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters.kubernetes.templates import JsonObject
from adapters.routers.gateway_backends import Shares, joined, names
from adapters.routers.gateway_matches import joined as joined_matches
from adapters.routers.istio_http import Ordered
from adapters.routers.request_values import Unjoinable
from engine.traffic import FULL_WEIGHT, Sticky

MIRROR = "RequestMirror"


class Edited(ValueError):
    """The rules that were divided are not to be found any more; the message says so, in words that follow the route's."""


@dataclass(frozen=True, slots=True)
class Division:
    """What was found of a route before a rollout: the backends of each rule that is divided, in their order."""

    kind: str
    root: str
    stable: str
    canary: str
    namespace: str
    parts: tuple[Shares, ...]
    rule: str = ""
    """The name of the only rule that is divided; empty for all that name the root Service."""

    # --- as it is ordered ----------------------------------------------------------------------------------------------

    def arrange(self, rules: Sequence[JsonObject], ordered: Ordered) -> list[JsonObject]:
        """The whole list. Raises `Edited`, and `Unjoinable`."""
        made: list[JsonObject] = []
        theirs = self._without_our_rules(rules)
        parts = dict(zip(self._places(theirs), self.parts, strict=True))
        for index, rule in enumerate(theirs):
            if index in parts:
                made += self._in_front(rule, parts[index], ordered)
                made.append(self._ordered(rule, parts[index], ordered))
            else:
                made.append(rule)
        return made

    def _ordered(self, rule: JsonObject, part: Shares, ordered: Ordered) -> JsonObject:
        found = {**self._bare(rule, ordered), "backendRefs": part.at(ordered.weight)}
        if ordered.shape.mirror:
            found["filters"] = [*(found.get("filters") or ()), self._mirror(part, ordered.shape.mirror)]
        if ordered.keeps_clients and ordered.sticky is not None:
            found["sessionPersistence"] = persistence(ordered.sticky, ordered.version)
        return found

    def _in_front(self, rule: JsonObject, part: Shares, ordered: Ordered) -> Iterator[JsonObject]:
        """A header route whose requests never come to this rule has nothing to do here."""
        for route in ordered.shape.header_routes:
            matches = joined_matches(self.kind, rule.get("matches") or [], route.matches)
            kept = {key: value for key, value in self._bare(rule, ordered).items() if key not in ("name", "sessionPersistence")}
            if matches:
                yield {**kept, "matches": matches, "backendRefs": part.fresh_alone()}

    def _mirror(self, part: Shares, share: int) -> JsonObject:
        backend = {key: value for key, value in part.fresh_alone()[0].items() if key not in ("weight", "filters")}
        return {"type": MIRROR, "requestMirror": {"backendRef": backend, **_portion(share)}}

    def _bare(self, rule: JsonObject, ordered: Ordered) -> JsonObject:
        """Without what is ours beside its backends."""
        theirs = [one for one in rule.get("filters") or () if not self._mirrors_to_us(one)]
        kept = {key: value for key, value in rule.items() if key != "filters" or theirs}
        kept |= {"filters": theirs} if theirs else {}
        if ordered.sticky is not None and _session(rule) == session_name(ordered.sticky, ordered.version):
            kept.pop("sessionPersistence", None)
        return kept

    def has_mirror(self, rule: JsonObject) -> bool:
        """Whether it copies requests to the new version: ours, as a user's own is found out before anything is changed."""
        return any(map(self._mirrors_to_us, rule.get("filters") or ()))

    def _mirrors_to_us(self, one: JsonObject) -> bool:
        backend = (one.get("requestMirror") or {}).get("backendRef") or {}
        return one.get("type") == MIRROR and names(backend, self.canary, self.namespace)

    # --- as it stands --------------------------------------------------------------------------------------------------

    def divided(self, rules: Sequence[JsonObject]) -> list[list[JsonObject]] | None:
        """The backends of each divided rule as they are now; None where they are not to be found."""
        theirs = self._without_our_rules(rules)
        try:
            return [theirs[index].get("backendRefs") or [] for index in self._places(theirs)]
        except Edited:
            return None

    def weigh(self, rules: Sequence[JsonObject], ordered: Ordered) -> int | None:
        """The new version's weight in basis points: the ordered one where all say it as exactly as they can; None for no clear
        answer."""
        now = self.divided(rules)
        if now is None:
            return None
        if all(lists == part.at(ordered.weight) for lists, part in zip(now, self.parts, strict=True)):
            return ordered.weight
        found = {part.read(lists) for lists, part in zip(now, self.parts, strict=True)}
        return found.pop() if len(found) == 1 else None

    def reached(self, weight: int) -> int | None:
        """What the rules say for a weight, where they are too coarse for it and agree."""
        found = {part.reached(weight) for part in self.parts}
        return found.pop() if len(found) == 1 and weight not in found else None

    def is_intact(self, rules: Sequence[JsonObject]) -> bool:
        now = self.divided(rules)
        return now is not None and all(part.is_intact(lists) for lists, part in zip(now, self.parts, strict=True))

    def is_as_found(self, rules: Sequence[JsonObject]) -> bool:
        now = self.divided(rules)
        return now is not None and all(lists == list(part.found) for lists, part in zip(now, self.parts, strict=True))

    def is_arranged(self, rules: Sequence[JsonObject], ordered: Ordered) -> bool:
        """Whether exactly what was ordered beside the weight stands there. What else the user has changed in a rule in the
        meantime (a timeout) is taken up by ours at the next write, and no reason to hold anything."""
        try:
            wanted = self.arrange(rules, ordered)
        except (Edited, Unjoinable):
            return False
        return [self._ours_of(one) for one in rules] == [self._ours_of(one) for one in wanted]

    def _ours_of(self, rule: JsonObject) -> JsonObject:
        """What of a rule is ours beside weights, and that it is there at all."""
        if self._is_ours(rule):
            return {"matches": rule.get("matches"), "backendRefs": rule["backendRefs"]}
        mirrors = [one for one in rule.get("filters") or () if self._mirrors_to_us(one)]
        return {"mirrors": mirrors, "session": rule.get("sessionPersistence")}

    def is_bare(self, rules: Sequence[JsonObject]) -> bool:
        """Whether nothing of ours stands beside the weight."""
        return not any(self.has_mirror(rule) or self._is_ours(rule) for rule in rules)

    # --- as it is without us -------------------------------------------------------------------------------------------

    def as_found(self, rules: Sequence[JsonObject], ordered: Ordered) -> list[JsonObject]:
        """The list with the backends that were found. `ordered` says whose session is ours."""
        return self._without_us(rules, ordered, for_good=True)

    def without_canary(self, rules: Sequence[JsonObject], ordered: Ordered) -> list[JsonObject]:
        """All for the old version, whoever has edited the list."""
        return self._without_us(rules, ordered, for_good=False)

    def _without_us(self, rules: Sequence[JsonObject], ordered: Ordered, *, for_good: bool) -> list[JsonObject]:
        theirs = self._without_our_rules(rules)
        try:
            parts = dict(zip(self._places(theirs), self.parts, strict=True))
        except Edited:
            parts = {}
        return [self._rule_without_us(rule, parts.get(index), ordered, for_good=for_good) for index, rule in enumerate(theirs)]

    def _rule_without_us(self, rule: JsonObject, part: Shares | None, ordered: Ordered, *, for_good: bool) -> JsonObject:
        bare, now = self._bare(rule, ordered), rule.get("backendRefs") or []
        if part is not None:
            return {**bare, "backendRefs": part.as_found(now) if for_good else part.without_canary(now)}
        wanted = joined(now, self.parts[0], self.root if for_good else self.stable)
        return {**bare, "backendRefs": wanted} if wanted != now else bare

    # --- which is which ------------------------------------------------------------------------------------------------

    def _without_our_rules(self, rules: Sequence[JsonObject]) -> list[JsonObject]:
        return [rule for rule in rules if not self._is_ours(rule)]

    def _is_ours(self, rule: JsonObject) -> bool:
        backends = rule.get("backendRefs") or []
        return len(backends) == 1 and names(backends[0], self.canary, self.namespace)

    def _places(self, theirs: Sequence[JsonObject]) -> list[int]:
        """Where the divided rules stand among those of the user's. Raises `Edited`."""
        versions = (self.root, self.stable, self.canary)
        found = [
            index
            for index, rule in enumerate(theirs)
            if (not self.rule or rule.get("name") == self.rule) and names_any(rule, versions, self.namespace)
        ]
        if len(found) != len(self.parts):
            raise Edited(f"has {len(found)} rules for {self.root} and its versions instead of {len(self.parts)}")
        return found


def _portion(share: int) -> JsonObject:
    """All requests are said by nothing, which older definitions know too."""
    if share == FULL_WEIGHT:
        return {}
    return {"percent": share // 100} if share % 100 == 0 else {"fraction": {"numerator": share, "denominator": FULL_WEIGHT}}


def session_name(sticky: Sticky, version: str) -> str:
    """One for each rollout: whoever was drawn in the last one would be in this one at once."""
    return f"{sticky.cookie}-{version}"


def persistence(sticky: Sticky, version: str) -> JsonObject:
    return {
        "sessionName": session_name(sticky, version),
        "type": "Cookie",
        "absoluteTimeout": _duration(round(sticky.max_age_seconds)),
        "cookieConfig": {"lifetimeType": "Permanent"},
    }


def _session(rule: JsonObject) -> str:
    return str((rule.get("sessionPersistence") or {}).get("sessionName") or "")


def _duration(seconds: int) -> str:
    """As the Gateway API writes one: at most five digits for each unit (its GEP 2257)."""
    parts = ((seconds // 3_600, "h"), (seconds % 3_600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def names_any(rule: JsonObject, services: Sequence[str], namespace: str) -> bool:
    return any(names(one, service, namespace) for one in rule.get("backendRefs") or () for service in services)
