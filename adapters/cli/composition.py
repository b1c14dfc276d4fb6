"""Puts the parts together: the one place that knows every concrete store, strategy, world and actuator.

What reaches the clusters comes in as `connect`, so that the same daemon runs on real clusters, on the embedded one,
and on a model of the world in tests.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import aiohttp
from aiohttp import web

from adapters.cli.errors import StoreUnusable, sole_error
from adapters.cli.reloading import LiveSettings
from adapters.cli.stores import new_holder, open_named_store
from adapters.commands.running import open_commands
from adapters.folders.submitting import Submitter
from adapters.folders.watching import Folders
from adapters.forwarding import ServiceDoors
from adapters.hooks.destinations import Destinations
from adapters.hooks.destinations import open_session as open_hook_session
from adapters.hooks.webhooks import WebhookCaller
from adapters.http.known_names import KnownNames
from adapters.http.server import build_application
from adapters.http.service import Service
from adapters.http.telemetry import MeasuredActuator, MeasuredStore, MeasuredWorld, Telemetry
from adapters.leadership import UNDISPUTED, Leadership, Turn
from adapters.secrets import Secrets
from adapters.settings import Settings
from adapters.settings_admission import limits_of, windows_of
from engine.clock import Clock, SystemClock
from engine.daemon import AdmissionRules, Engine, start_engine
from engine.events import ActionSucceeded, Measurements
from engine.model import Action, ActionKind, ReleasePlan, RolloutSpec, Snapshot
from engine.ports import Actuator, World
from engine.sweeping import Sweep
from strategies.canary import CanaryStrategy

_ID_LETTERS = "abcdefghjkmnpqrstvwxyz"
_ID_REST = "23456789" + _ID_LETTERS
_ID_LENGTH = 10
EMBEDDED_PROVIDER = "embedded"
"""The metric provider that the embedded cluster brings along."""


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """A small cluster inside of this process, in the place of real ones."""

    plan: ReleasePlan
    """What is rehearsed: its accounts stand for clusters of their own, on which its application is already live."""
    linkerd: bool = False
    """Whether there is Linkerd on them, with its SMI extension."""

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts that it stands for."""
        return frozenset(target.account for target in self.plan.targets)


class Connected(NamedTuple):
    """The clusters, in the words of those who use them."""

    world: World
    actuator: Actuator
    """Performs everything but webhooks and commands."""
    doors: ServiceDoors | None = None
    """The way to their Services, for previews."""


ConnectAs: TypeAlias = "Callable[[Leadership], Connect]"
"""The way to the clusters for a daemon that asks this leadership before each write."""


class Connect(Protocol):
    """Opens the way to the clusters that the settings name (and to the embedded one)."""

    def __call__(
        self, settings: Settings, embedded: EmbeddedOptions | None, clock: Clock
    ) -> AbstractAsyncContextManager[Connected]:
        """Raises `ClusterUnreachable`."""


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon at work."""

    settings: Settings
    """As they were at the start."""
    live: LiveSettings
    engine: Engine
    service: Service
    folders: Folders
    """The deploy folders, which nobody looks into before `run` is called."""
    sweep: Sweep
    """What removes the past, once `run` is called."""
    application: web.Application
    """The API, to be served by `adapters.http.server.serve_api`."""


@asynccontextmanager
async def compose(
    settings: Settings,
    *,
    connect: Connect,
    embedded: EmbeddedOptions | None = None,
    clock: Clock | None = None,
    open_session: Callable[[Destinations], aiohttp.ClientSession] = open_hook_session,
    turn: Turn | None = None,
) -> AsyncIterator[Running]:
    """A running engine on the settings' store, with every unfinished rollout taken up. `clock`: the machine's, unless
    another is given; `open_session`: what webhooks are called with; `turn`: where daemons take turns, this daemon's, which has
    come: then the store is taken over from whoever has it.

    Leaving the block stops driving; nothing is undone. Raises `StoreError`, `StoreUnusable` and `ClusterUnreachable`, and
    `Deposed` out of the block when another daemon has taken over.
    """
    try:
        async with _compose(settings, connect, embedded, clock or SystemClock(), open_session, turn) as running:
            yield running
    except BaseExceptionGroup as group:
        # The parts' task groups wrap what goes wrong inside of the block, once each; what it is about is in the middle.
        raise sole_error(group) from None


@asynccontextmanager
async def _compose(
    settings: Settings,
    connect: Connect,
    embedded: EmbeddedOptions | None,
    clock: Clock,
    open_session: Callable[[Destinations], aiohttp.ClientSession],
    turn: Turn | None,
) -> AsyncIterator[Running]:
    telemetry = Telemetry(clock)
    leadership, holder = turn or UNDISPUTED, new_holder()
    if turn is not None:
        holder = turn.me
        telemetry.follow(turn)
    async with AsyncExitStack() as stack:
        leadership.require()
        opening = open_named_store(settings, holder, clock.now(), take_over=None if turn is None else turn.require)
        try:
            store = await stack.enter_async_context(opening)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise StoreUnusable(f"the store {settings.store} cannot be opened: {why}; name another one") from error
        leadership.require()  # Opening it may have taken longer than the lease lasts.
        destinations = Destinations(settings.webhooks, settings.listen)
        session = await stack.enter_async_context(open_session(destinations))
        connected = await stack.enter_async_context(connect(settings, embedded, clock))
        live = LiveSettings(settings)
        known_secrets = Secrets(settings.secrets, os.environ)
        live.follow(lambda current: known_secrets.replace(current.secrets))
        live.follow(lambda current: destinations.replace(current.webhooks))
        webhooks = WebhookCaller(session, known_secrets, settings.public_url, clock, destinations, leadership)
        # Opened before the engine, so that what the engine's end cuts short is ended in its turn.
        commands = await stack.enter_async_context(open_commands(settings.commands, os.environ, clock, leadership=leadership))
        live.follow(lambda current: commands.replace(current.commands))
        special: dict[ActionKind, Actuator] = {ActionKind.CALL_WEBHOOK: webhooks, ActionKind.RUN_COMMAND: commands}
        actuator = _ByKind(special, connected.actuator)
        measured = MeasuredStore(store, telemetry)
        engine = await stack.enter_async_context(
            start_engine(
                store=measured,
                clock=clock,
                strategy=CanaryStrategy(),
                world=MeasuredWorld(connected.world, telemetry),
                actuator=MeasuredActuator(actuator, telemetry),
                new_id=new_release_id,
                new_secret=secrets.token_urlsafe,
                rules=_rules_of(settings, embedded),
            )
        )
        live.follow(lambda current: engine.set_rules(_rules_of(current, embedded)))
        service = Service(
            engine=engine,
            store=measured,
            clock=clock,
            telemetry=telemetry,
            check_store=store.check,
            known=lambda: _known_names(live.current, embedded),
            public_url=settings.public_url,
            take_out_secrets=known_secrets.take_out,
        )
        writer = store.writer
        folders = Folders(Submitter(service), clock)
        folders.watch(settings.deploy_folders, settings.manifest_folders)
        live.follow(lambda current: folders.watch(current.deploy_folders, current.manifest_folders))
        sweep = Sweep(store, clock, settings.retention.as_retention(), telemetry.note_removal)
        live.follow(lambda current: sweep.keep(current.retention.as_retention()))
        application = build_application(
            service,
            lambda: live.current.tokens,
            folders.standings,
            lambda: (writer.commits, writer.changes),
            settings.listen,
            connected.doors,
        )
        yield Running(settings, live, engine, service, folders, sweep, application)


def _known_names(settings: Settings, embedded: EmbeddedOptions | None) -> KnownNames:
    return KnownNames(
        accounts=frozenset(settings.accounts) | (embedded.accounts if embedded is not None else frozenset()),
        providers=frozenset(settings.metric_providers) | ({EMBEDDED_PROVIDER} if embedded is not None else set()),
        commands=frozenset(settings.commands),
        secrets=frozenset(settings.secrets),
    )


class _ByKind:
    """Implements `engine.ports.Actuator` by several: each kind of action has its own, and one has the rest."""

    def __init__(self, special: Mapping[ActionKind, Actuator], rest: Actuator) -> None:
        self._special = special
        self._rest = rest

    async def perform(self, spec: RolloutSpec, snapshot: Snapshot, action: Action) -> ActionSucceeded | Measurements:
        return await self._special.get(action.kind, self._rest).perform(spec, snapshot, action)


def _rules_of(settings: Settings, embedded: EmbeddedOptions | None) -> AdmissionRules:
    """A rehearsal touches no cluster, so it waits for none of them."""
    if embedded is not None:
        return AdmissionRules()
    return AdmissionRules(limits_of(settings), windows_of(settings))


def new_release_id() -> str:
    """Short enough to be typed, random enough to be unique (49 bits), and never to be mistaken for a number."""
    return secrets.choice(_ID_LETTERS) + "".join(secrets.choice(_ID_REST) for _ in range(_ID_LENGTH - 1))
