"""What a shell may complete: releases and applications of a running daemon, and targets. Light to import.

Nothing here may disturb somebody who types: whatever goes wrong, nothing is offered and nothing is said; a daemon has a
second to answer. zsh evaluates what it is given, and bash expands it, so only names that no shell reads as anything else
are offered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from adapters.http.bodies import ReleaseBody
    from adapters.http.client import DaemonClient

T = TypeVar("T")

Offer = tuple[str, str]
"""What is completed, and a few words about it for shells that show some."""

PATIENCE_SECONDS = 1.0
MOST = 50
_HARMLESS = re.compile(r"[A-Za-z0-9_./@+-]+")
_ORDERS = ("approve", "reject", "pause", "resume", "skip", "promote", "abort")


def offer_releases(context: typer.Context, incomplete: str) -> list[Offer]:
    """Applications and ids of releases, the newest first; for orders, only those that an order can reach."""
    return _quietly(lambda: _releases(context, incomplete))


def offer_applications(context: typer.Context, incomplete: str) -> list[Offer]:
    return _quietly(lambda: _harmless((one.application, "") for one in _ask(context, _list)))


def offer_targets_of_release(context: typer.Context, incomplete: str) -> list[Offer]:
    """The targets of the release that the command line names."""
    named = _named(context, "release")

    async def look(client: DaemonClient) -> list[str]:
        return [rollout.target for rollout in (await client.release(named)).rollouts]

    return _quietly(lambda: _harmless((target, "") for target in _ask(context, look))) if named else []


def offer_targets_of_file(context: typer.Context, incomplete: str) -> list[Offer]:
    """The targets of the deploy file that the command line names."""
    named = _named(context, "file")
    return _quietly(lambda: _harmless((target, "") for target in _targets(Path(named)))) if named else []


def offer_targets(context: typer.Context, incomplete: str) -> list[Offer]:
    """Those of the file or of the release, whichever the command is about."""
    return offer_targets_of_file(context, incomplete) or offer_targets_of_release(context, incomplete)


def _named(context: typer.Context, parameter: str) -> str:
    """The command's own argument. While an option still lacks its value, it is not bound to its parameter yet."""
    if parameter not in context.params:
        return ""
    return str(context.params[parameter] or next(iter(context.args), ""))


def _quietly(offer: Callable[[], list[Offer]]) -> list[Offer]:
    try:
        return offer()
    except Exception:
        return []


def _harmless(offers: Iterable[Offer]) -> list[Offer]:
    """Each name once, without those that mean something to a shell."""
    found: dict[str, str] = {}
    for name, words in offers:
        if _HARMLESS.fullmatch(name) and not name.startswith("-"):
            found.setdefault(name, words)
    return list(found.items())


# --- the daemon ----------------------------------------------------------------------------------------------------------


def _releases(context: typer.Context, incomplete: str) -> list[Offer]:
    found = [one for one in _ask(context, _list) if _is_meant(context.info_name or "", one)]
    applications = [(one.application, f"the newest is {_words(one)}") for one in found]
    return _harmless([*applications, *((one.id, f"{one.application} {_words(one)}") for one in found)])


def _is_meant(command: str, release: ReleaseBody) -> bool:
    from engine.model import FINAL_STATUSES, ReleaseStatus

    if command in _ORDERS:
        return release.status not in FINAL_STATUSES
    if command == "retry":
        return release.status in FINAL_STATUSES and release.status is not ReleaseStatus.SUCCEEDED
    return command != "rollback" or release.status is ReleaseStatus.SUCCEEDED


def _words(release: ReleaseBody) -> str:
    """A few words that no shell reads as anything else either."""
    return release.status.value.lower().replace("_", " ")


async def _list(client: DaemonClient) -> tuple[ReleaseBody, ...]:
    return (await client.releases(limit=MOST)).releases


def _ask(context: typer.Context, question: Callable[[DaemonClient], Awaitable[T]]) -> T:
    import asyncio

    from adapters.cli.surroundings import find_daemon
    from adapters.http.client import DaemonClient

    params: dict[str, Any] = context.params
    daemon = find_daemon(params.get("server"), params.get("config"), os.environ)

    async def ask() -> T:
        async with asyncio.timeout(PATIENCE_SECONDS), DaemonClient(daemon.place) as client:
            return await question(client)

    return asyncio.run(ask())


# --- a file --------------------------------------------------------------------------------------------------------------


def _targets(path: Path) -> list[str]:
    """The names of its targets, also while it still has errors."""
    from strategies.places import Place
    from strategies.yaml_document import Limits, compose
    from strategies.yaml_scalars import Dialect

    limits = Limits(bytes=1 << 20, values=20_000)
    with path.open("rb") as file:
        text = file.read(limits.bytes + 1).decode("utf-8")
    composed = compose(text, dialect=Dialect.DEPLOY_FILE, limits=limits, single=True)
    return [name for document in composed.documents[:1] for name, _ in Place.root(document).entries("targets")]
