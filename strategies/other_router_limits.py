"""What a weighted TraefikService, and an object known by JSON pointers, say beside a weight: nothing of single requests. Pure.

Traefik tells requests apart by the rules of IngressRoutes, which are other objects, and mirrors by a TraefikService with
`spec.mirroring` in the place of `spec.weighted`. What routes name would have to become that object, and its list of weights,
with the parts of everybody else in it, would have to move to one of ours for the time of a rollout; an edit of the list by
somebody else in that time would be lost, so a mirror is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.traffic import SetHeaderRoute, Shape

_ROUTES_OF_TRAEFIK = "a weighted TraefikService tells no requests apart; make an IngressRoute of your own to the canary Service"
_MIRROR_OF_TRAEFIK = (
    "a TraefikService has weights or a mirror, and not both, so your list of weights would have to be moved away; leave it out"
)
_ROUTES_OF_CUSTOM = "two JSON pointers to weights say nothing of single requests; leave it out"
_MIRROR_OF_CUSTOM = "two JSON pointers to weights say nothing of copies of requests; leave it out"


def refuse_traefik_routes(routes: Sequence[SetHeaderRoute]) -> str:
    """Why they cannot be said, with what to do instead; empty where they can. For the routes that are set at the same time."""
    return _ROUTES_OF_TRAEFIK if any(route.matches for route in routes) else ""


def refuse_traefik_mirror(share: int) -> str:
    """`share`: in basis points."""
    return _MIRROR_OF_TRAEFIK if share else ""


def refuse_custom_routes(routes: Sequence[SetHeaderRoute]) -> str:
    return _ROUTES_OF_CUSTOM if any(route.matches for route in routes) else ""


def refuse_custom_mirror(share: int) -> str:
    return _MIRROR_OF_CUSTOM if share else ""


def refuse_traefik_shape(shape: Shape) -> str:
    return refuse_traefik_mirror(shape.mirror) or refuse_traefik_routes(shape.header_routes)


def refuse_custom_shape(shape: Shape) -> str:
    return refuse_custom_mirror(shape.mirror) or refuse_custom_routes(shape.header_routes)
