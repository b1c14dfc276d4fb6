"""Mirrors and session affinity of a Flagger Canary, where Istio or the Gateway API moved the traffic -> the same in a deploy
file."""

from __future__ import annotations

from strategies.importing.draft import Draft
from strategies.importing.go_durations import duration
from strategies.importing.requests import SINGLE_OUT
from strategies.importing.subjects import Lost, Subject
from strategies.places import Place
from strategies.traffic_step_checks import is_token

_DAY = 86_400
_ALL = 100.0
_AFFINITY_LOST: Lost = dict.fromkeys(
    ("primaryCookieName", "domain", "httpOnly", "partitioned", "path", "sameSite", "secure"),
    ("was about the cookie, or about one for the old version", "the cookie is HttpOnly, for all paths, and of the new version"),
)


def read_mirror(canary: Subject, analysed: Place, draft: Draft) -> float | None:
    """The share of requests that was copied before the first weight, in percent; None where none were, or not here."""
    mirror, weight = analysed.get("mirror"), analysed.get("mirrorWeight")
    if not any(one in draft.traffic for one in SINGLE_OUT) or mirror is None or mirror.value is not True:
        return None
    share = float(weight.number) if weight is not None and weight.number is not None else _ALL
    if not 0 < share <= _ALL:
        return None
    for key in ("mirror", "mirrorWeight"):
        canary.take(analysed, key)
    return round(share, 2)


def read_affinity(canary: Subject, analysed: Place, draft: Draft) -> None:
    router = next((one for one in SINGLE_OUT if one in draft.traffic), "")
    affinity, blocks = analysed.get("sessionAffinity"), draft.traffic.get(router)
    name = affinity.get("cookieName") if affinity is not None else None
    if affinity is None or not isinstance(blocks, list) or name is None or name.text is None or not is_token(name.text):
        return
    canary.finish(affinity)
    canary.lose(affinity, _AFFINITY_LOST)
    seconds = affinity.get("maxAge")
    age = seconds.number if seconds is not None and seconds.number else _DAY
    for block in blocks:
        if isinstance(block, dict):
            block["stickySession"] = {"cookieName": name.text, "maxAge": duration(min(max(age, 1), 365 * _DAY))}
    if router == "gatewayApi":
        canary.changed(
            affinity,
            "kept clients by rules and headers of the route",
            "here it is by sessionPersistence, of the Gateway API's experimental channel; without that, leave stickySession out",
        )
    canary.note(affinity, "made the cookie anew at every weight", "here it is that of the rollout, whatever the weight")
