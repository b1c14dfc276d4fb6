"""Liveness, readiness and figures that mean something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.http import identity, probes
from adapters.http.telemetry import MeasuredStore
from engine.errors import Rejected, Retryable, StoreError
from engine.model import Origin, State
from engine.ports import NotedOrigin, Store
from store.relational import SqlStore
from tests.clocks import START
from tests.http.stage import APPROVAL, Daemon, Stage, percent
from tests.store.stand import release


class Log:
    def __init__(self) -> None:
        self.warnings: list[tuple[str, dict[str, object]]] = []

    def warning(self, event: str, **fields: object) -> None:
        self.warnings.append((event, fields))


@pytest.fixture
async def http(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(daemon.running.settings.socket))
    async with aiohttp.ClientSession("http://headgate", connector=connector) as session:
        yield session


async def figures(http: aiohttp.ClientSession) -> dict[str, float]:
    async with http.get("/metrics") as response:
        assert response.status == 200
        text = await response.text()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_the_figures_tell_what_the_daemon_has_done(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    before = await figures(http)
    assert before["headgate_decisions_total"] == 0
    assert before["headgate_rollouts{state=approving}"] == 0

    done = (await daemon.submit(percent(50))).release.id
    waiting = (await daemon.submit(APPROVAL, application="stall")).release.id
    await daemon.until_state(waiting, State.APPROVING)
    ended = await daemon.until_state(done, State.SUCCEEDED)
    standing = await daemon.rollout(waiting)

    after = await figures(http)
    assert after["headgate_rollouts{state=approving}"] == 1
    assert after["headgate_rollouts_ended_total{state=succeeded}"] == 1
    assert after["headgate_decisions_total"] == ended.seq + standing.seq
    assert after["headgate_actions_total{kind=record,outcome=done}"] == 2
    assert after["headgate_store_changes_total"] >= after["headgate_decisions_total"]
    assert 1 <= after["headgate_store_commits_total"] <= after["headgate_store_changes_total"]
    mean = after["headgate_store_changes_total"] / after["headgate_store_commits_total"]
    assert after["headgate_store_commit_group_size"] == pytest.approx(mean)
    assert 0 <= after["headgate_last_event_age_seconds"] < 20
    assert 0 <= after["headgate_last_decision_age_seconds"] < 20


async def test_failed_actions_are_counted_by_outcome(stage: Stage, daemon: Daemon, http: aiohttp.ClientSession) -> None:
    stage.world.faults["record:web"] = [Retryable("503", 0.01), Rejected("forbidden")]
    begun = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(begun, State.REJECTED)
    found = await figures(http)
    assert found["headgate_actions_total{kind=record,outcome=retried}"] == 1
    assert found["headgate_actions_total{kind=record,outcome=rejected}"] == 1
    assert found["headgate_rollouts_ended_total{state=rejected}"] == 1


async def write_origin(store: Store) -> None:
    await store.note_origin(NotedOrigin(Origin("/deploy.d", "shop.yaml", "one"), "r1"))


async def write_release(store: Store) -> None:
    await store.add_release(release(), [], START)


async def fail_to_write(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise StoreError("the store could not be written: disk full")

    with monkeypatch.context() as patched, pytest.raises(StoreError):
        patched.setattr(SqlStore, "note_origin", refuse)
        await write_origin(daemon.running.service.store)


async def test_ready_means_that_decisions_can_be_written_down(
    daemon: Daemon, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"ready": True, "message": "ready"})
    await fail_to_write(daemon, monkeypatch)
    async with http.get("/readyz") as response:
        assert response.status == 503
        assert (await response.json())["message"] == "the store cannot be used at present; the daemon's log says why"
    async with http.get("/livez") as response:
        assert response.status == 200
    begun = (await daemon.submit(APPROVAL)).release.id
    await daemon.until_state(begun, State.APPROVING)
    async with http.get("/readyz") as response:
        assert response.status == 200


async def test_a_daemon_with_nothing_to_decide_is_ready_when_its_store_is_well_again(
    daemon: Daemon, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends deployments only to who is ready would send none, and no other write would come."""
    await fail_to_write(daemon, monkeypatch)
    async with http.get("/readyz") as response:
        assert response.status == 503
    monkeypatch.setattr("adapters.http.telemetry.BELIEVED_SECONDS", 0.0)
    async with http.get("/readyz") as response:
        assert response.status == 200


@pytest.mark.parametrize("write", [write_origin, write_release])
async def test_any_write_that_succeeds_tells_that_the_store_is_well(
    daemon: Daemon, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, write: Callable[[Store], Awaitable[None]]
) -> None:
    await fail_to_write(daemon, monkeypatch)
    await write(daemon.running.service.store)
    async with http.get("/readyz") as response:
        assert response.status == 200


async def test_what_the_store_says_is_for_the_log_and_not_for_whoever_asks(
    daemon: Daemon, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the store's host and user, and the probes and callbacks are asked without a token of the settings."""
    said = StoreError("the store postgresql://ada@db.internal:5432/headgate cannot be reached: Connection refused")

    async def fail(*_: object) -> None:
        raise said

    log = Log()
    monkeypatch.setattr(probes, "log", log)
    monkeypatch.setattr(identity, "log", log)
    monkeypatch.setattr(MeasuredStore, "rollouts", fail)
    with suppress(StoreError), daemon.running.service.telemetry.writing():
        await fail()
    told = []
    for method, path in (("GET", "/readyz"), ("GET", "/readyz"), ("POST", "/v1/callbacks/a.b/c/callback")):
        async with http.request(method, path) as response:
            assert response.status == 503
            told.append(await response.text())
    assert all("the store cannot be used at present; the daemon's log says why" in one and "ada" not in one for one in told)
    assert log.warnings == [
        ("store.not_ready", {"error": str(said)}),
        ("api.store_failed", {"route": "/v1/callbacks/{rollout}/{token}/callback", "error": str(said)}),
    ]


async def test_many_who_ask_whether_it_is_ready_cost_no_write_each(daemon: Daemon, http: aiohttp.ClientSession) -> None:
    """Anybody may ask, also without a token."""
    before = (await figures(http))["headgate_store_changes_total"]

    async def ask() -> None:
        async with http.get("/readyz") as response:
            assert response.status == 200

    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(ask())
    assert (await figures(http))["headgate_store_changes_total"] - before < 25
