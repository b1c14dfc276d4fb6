"""Tokens with scopes: what they do not cover is not there, and an order is carried out whole or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web

from adapters.access import Access, Scope, TargetKey, Verb
from adapters.http.bodies import CommandBody, EndLine, EntryLine, ErrorCode, ReleaseLine, RollbackBody, SnapshotLine, WatchLine
from adapters.http.client import DaemonClient
from adapters.http.client_errors import DaemonRefused
from adapters.http.identity import identify_callers
from adapters.http.server import serve_api
from adapters.http.watches import Watches
from adapters.settings import Address
from engine.clock import SystemClock
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.http.stage import APPROVAL, Daemon, Stage, over_tcp, percent, submission, token, until

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BOTH = ("staging", "production")
TOKENS = (
    token("ci", scopes=({"applications": ["shop", "shop-*"], "targets": ["staging"]},)),
    token("developer", scopes=({"verbs": ["read"]}, {"targets": ["staging"], "verbs": ["deploy", "abort"]})),
    token("approver", scopes=({"applications": ["shop"], "verbs": ["approve", "reject"]},)),
    token("skipper", scopes=({"verbs": ["skip"]},)),
    token("stranger", scopes=({"applications": ["stall"]},)),
    token("elsewhere", scopes=({"accounts": ["prod-*"]},)),
    token("board", scopes=({"targets": ["staging"]},), access=Access.READ),
    token("figures", scopes=({"verbs": ["read"]},)),
    token("gone", expires_at=LONG_AGO),
)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, tokens=TOKENS, listen=Address("127.0.0.1", 0))


async def refusal(client: DaemonClient, release: str, kind: CommandKind, target: str | None = None) -> DaemonRefused:
    with pytest.raises(DaemonRefused) as caught:
        await client.command(release, CommandBody(kind, target))
    return caught.value


async def waiting_for_an_answer(daemon: Daemon) -> str:
    """A release of two targets: the first waits for an approval, and the second for the first."""
    release = (await daemon.submit(APPROVAL, targets=BOTH)).release.id
    await daemon.until_state(release, State.APPROVING, "staging")
    return release


# --- looking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stranger", "elsewhere"])
async def test_a_release_outside_of_the_scopes_is_not_there(daemon: Daemon, name: str) -> None:
    release = await waiting_for_an_answer(daemon)
    async with over_tcp(daemon, name) as client:
        assert (await client.releases()).releases == ()
        assert (await client.releases("shop")).releases == ()
        for wanted in (release, release[:5], "shop"):
            for ask in (
                client.release(wanted),
                client.journal(wanted),
                client.command(wanted, CommandBody(CommandKind.ABORT)),
                client.roll_back(wanted, RollbackBody()),
                anext(client.watch(wanted)),
            ):
                with pytest.raises(DaemonRefused, match=f"there is no release or application {wanted}; see") as caught:
                    await ask
                assert (caught.value.status, caught.value.body.code) == (404, ErrorCode.NOT_FOUND)
    assert (await daemon.rollout(release, "staging")).state is State.APPROVING


async def test_a_release_is_seen_as_if_it_had_only_the_targets_of_the_scopes(daemon: Daemon) -> None:
    release = await waiting_for_an_answer(daemon)
    await daemon.client.command(release, CommandBody(CommandKind.APPROVE))
    await daemon.until_state(release, State.APPROVING, "production")
    async with over_tcp(daemon, "board") as client:
        detail = await client.release(release)
        assert [rollout.target for rollout in detail.rollouts] == ["staging"]
        assert detail.release.targets == ("staging",)
        (listed,) = (await client.releases()).releases
        assert listed.targets == ("staging",)
        assert {entry.target for entry in (await client.journal(release)).entries} == {"staging"}
    assert {entry.target for entry in (await daemon.client.journal(release)).entries} == set(BOTH)


async def test_a_watch_tells_nothing_of_other_targets_not_even_why_they_failed(daemon: Daemon) -> None:
    release = await waiting_for_an_answer(daemon)
    async with over_tcp(daemon, "board") as client:
        lines: list[WatchLine] = []
        begun = anyio.Event()

        async def watch() -> None:
            async for line in client.watch(release):
                lines.append(line)
                begun.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch())
            await begun.wait()
            await daemon.client.command(release, CommandBody(CommandKind.APPROVE))
            await daemon.until_state(release, State.APPROVING, "production")
            await daemon.client.command(release, CommandBody(CommandKind.ABORT, reason="a secret of production"))
    assert isinstance(lines[0], SnapshotLine)
    assert [rollout.target for rollout in lines[0].detail.rollouts] == ["staging"]
    assert {line.entry.target for line in lines if isinstance(line, EntryLine)} == {"staging"}
    ended = [line for line in lines if isinstance(line, ReleaseLine)][-1].release
    assert (ended.status, ended.reason, ended.targets) == (ReleaseStatus.FAILED, "", ("staging",))
    assert lines[-1] == EndLine(final=True, message="the release has ended: FAILED")
    assert "a secret of production" in (await daemon.client.release(release)).release.reason


async def test_an_application_stands_for_the_newest_release_that_is_seen(daemon: Daemon) -> None:
    seen = (await daemon.submit(percent(50), targets=["staging"])).release.id
    await daemon.until_ended(seen)
    newer = (await daemon.submit(APPROVAL, targets=["production"])).release.id
    async with over_tcp(daemon, "board") as client:
        assert (await client.release("shop")).release.id == seen
    assert (await daemon.client.release("shop")).release.id == newer


@pytest.mark.parametrize("path", ["metrics", "v1/folders"])
async def test_what_is_of_all_applications_is_for_those_who_see_everything(daemon: Daemon, path: str) -> None:
    async with aiohttp.ClientSession() as http:
        for name, status in (("figures", 200), ("developer", 200), ("board", 403), ("approver", 403)):
            headers = {"Authorization": f"Bearer the-{name}-token"}
            async with http.get(f"http://{daemon.address}/{path}", headers=headers) as response:
                assert response.status == status
                if status == 403:
                    assert (await response.json())["error"]["code"] == "forbidden"


# --- deploying and taking back -----------------------------------------------------------------------------------------


async def test_a_deployment_is_refused_whole_when_one_of_its_targets_is_out_of_scope(daemon: Daemon) -> None:
    async with over_tcp(daemon, "ci") as client:
        with pytest.raises(DaemonRefused) as caught:
            await client.submit(submission(percent(50), targets=BOTH))
        assert (caught.value.status, caught.value.body.code) == (403, ErrorCode.FORBIDDEN)
        assert str(caught.value) == (
            "the token ci may not deploy shop on production (account model); it may on staging: name only what it may, with "
            "--target; nothing was changed"
        )
        with pytest.raises(DaemonRefused, match=r"ci may not deploy stall on staging \(account model\); nothing was changed"):
            await client.submit(submission(percent(50), targets=["staging"], application="stall"))
        assert (await daemon.client.releases()).releases == ()
        body = submission(percent(50), targets=BOTH)
        accepted = await client.submit(type(body)(body.name, body.text, body.manifests, targets=["staging"]))
    assert await daemon.until_ended(accepted.release.id) is ReleaseStatus.SUCCEEDED
    assert accepted.release.created_by == "ci"
    assert (await daemon.client.journal(accepted.release.id)).entries[0].text.startswith("deployed by ci; the rollout begins")


@pytest.mark.parametrize("name", ["approver", "figures", "board"])
async def test_whoever_may_not_deploy_deploys_nowhere(daemon: Daemon, name: str) -> None:
    async with over_tcp(daemon, name) as client:
        with pytest.raises(DaemonRefused) as caught:
            await client.submit(submission(percent(50), targets=["staging"]))
    assert caught.value.body.code is ErrorCode.FORBIDDEN
    assert (await daemon.client.releases()).releases == ()


async def test_which_accounts_there_are_is_not_told_to_those_who_may_not_use_them(daemon: Daemon) -> None:
    for name, advice in (("elsewhere", "they name none"), ("ci", 'did you mean "model"?')):
        async with over_tcp(daemon, name) as client:
            with pytest.raises(DaemonRefused) as caught:
                account = "prod-model" if name == "elsewhere" else "modle"
                await client.submit(submission(percent(50), targets=["staging"], account=account))
        assert [problem.message.partition("; ")[2] for problem in caught.value.body.problems] == [advice]
    async with over_tcp(daemon, "elsewhere") as client:
        with pytest.raises(DaemonRefused, match="may not deploy shop on staging") as caught:
            await client.submit(submission(percent(50), targets=["staging"], account="modle"))
        assert caught.value.body.code is ErrorCode.FORBIDDEN


async def test_a_release_that_is_in_the_way_is_named_to_those_who_may_see_it(daemon: Daemon) -> None:
    release = (await daemon.submit(APPROVAL, targets=["production"])).release.id
    body = submission(percent(50), targets=["staging"])
    for name, said in (("developer", f"release {release} of shop is"), ("ci", "a release that the token ci may not see")):
        async with over_tcp(daemon, name) as client:
            with pytest.raises(DaemonRefused, match=said) as caught:
                await client.submit(body)
        assert (caught.value.status, caught.value.body.code) == (409, ErrorCode.CONFLICT)
        assert caught.value.body.release == (release if name == "developer" else "")


async def test_taking_the_place_of_a_release_needs_the_right_to_abort_it(daemon: Daemon) -> None:
    first = (await daemon.submit(APPROVAL, targets=["production"])).release.id
    body = submission(percent(50), targets=["staging"], in_progress="replace")
    for name, said in (("developer", r"production \(account model\)"), ("ci", "1 target that it may not see")):
        async with over_tcp(daemon, name) as client:
            with pytest.raises(DaemonRefused, match=f"take the place of another one, .* may not abort that on {said}") as caught:
                await client.submit(body)
        assert (caught.value.status, caught.value.body.code) == (403, ErrorCode.FORBIDDEN)
    assert [release.id for release in (await daemon.client.releases()).releases] == [first]
    second = (await daemon.client.submit(body)).release.id
    assert await daemon.until_ended(first) in (ReleaseStatus.FAILED, ReleaseStatus.CANCELLED, ReleaseStatus.REJECTED)
    assert await daemon.until_ended(second) is ReleaseStatus.SUCCEEDED


async def test_a_release_is_taken_back_where_the_scopes_allow_it(daemon: Daemon) -> None:
    release = (await daemon.submit(percent(50), targets=BOTH)).release.id
    await daemon.until_ended(release)
    async with over_tcp(daemon, "developer") as client:
        with pytest.raises(DaemonRefused, match=r"developer may not rollback shop on staging \(account model\) and production"):
            await client.roll_back(release, RollbackBody())
    async with over_tcp(daemon, "ci") as client:
        with pytest.raises(DaemonRefused, match="may not rollback shop on 1 target that it may not see; it may on staging"):
            await client.roll_back(release, RollbackBody())
        with pytest.raises(DaemonRefused, match=f"release {release} has no target production; it has staging$") as caught:
            await client.roll_back(release, RollbackBody(targets=["production"]))
        assert caught.value.status == 404
        back = (await client.roll_back(release, RollbackBody(targets=["staging"]))).release
    assert (back.targets, back.created_by) == (("staging",), "ci")
    assert await daemon.until_ended(back.id) is ReleaseStatus.SUCCEEDED


# --- orders ------------------------------------------------------------------------------------------------------------


async def test_an_order_to_a_whole_release_is_refused_whole_with_what_is_missing(daemon: Daemon) -> None:
    release = await waiting_for_an_answer(daemon)
    async with over_tcp(daemon, "developer") as client:
        error = await refusal(client, release, CommandKind.ABORT)
        assert (error.status, error.body.code) == (403, ErrorCode.FORBIDDEN)
        assert str(error).startswith(
            "the token developer may not abort shop on production (account model); it may on staging: name only"
        )
        error = await refusal(client, release, CommandKind.ABORT, "production")
        assert str(error) == "the token developer may not abort shop on production (account model); nothing was changed"
        assert (await daemon.rollout(release, "staging")).state is State.APPROVING
        taken = await client.command(release, CommandBody(CommandKind.ABORT, "staging"))
        assert taken.targets == ("staging",)


async def test_targets_that_are_not_seen_are_counted_and_not_named(daemon: Daemon) -> None:
    release = await waiting_for_an_answer(daemon)
    async with over_tcp(daemon, "ci") as client:
        error = await refusal(client, release, CommandKind.PAUSE)
        assert error.body.code is ErrorCode.FORBIDDEN
        assert "may not pause shop on 1 target that it may not see; it may on staging" in str(error)
        error = await refusal(client, release, CommandKind.PAUSE, "production")
        assert (error.status, str(error)) == (404, f"release {release} has no target production; it has staging")
        assert str(await refusal(client, release, CommandKind.PAUSE, "prod")).endswith("no target prod; it has staging")
    rollouts = (await daemon.client.release(release)).rollouts
    assert [rollout.held for rollout in rollouts] == ["", ""]


async def test_what_has_ended_already_asks_for_no_right(daemon: Daemon) -> None:
    """An order to a whole release goes to the targets that are under way."""
    release = await waiting_for_an_answer(daemon)
    await daemon.client.command(release, CommandBody(CommandKind.ABORT, "production"))
    await daemon.until_state(release, State.CANCELLED, "production")
    async with over_tcp(daemon, "developer") as client:
        assert (await client.command(release, CommandBody(CommandKind.ABORT))).targets == ("staging",)
        await daemon.until_ended(release)
        error = await refusal(client, release, CommandKind.ABORT)
        assert (error.status, "may not abort shop on production" in str(error)) == (403, True)


async def test_each_verb_is_a_right_of_its_own(daemon: Daemon) -> None:
    release = await waiting_for_an_answer(daemon)
    async with over_tcp(daemon, "approver") as client:
        for kind in (CommandKind.ABORT, CommandKind.PAUSE, CommandKind.RESUME):
            error = await refusal(client, release, kind, "staging")
            assert error.status == 403
            assert f"the token approver may not {kind} shop on staging" in str(error)
        assert (await client.command(release, CommandBody(CommandKind.APPROVE, "staging"))).targets == ("staging",)
    await daemon.until_state(release, State.APPROVING, "production")


async def test_skipping_passes_an_approval_without_the_right_to_approve_unless_it_asks_for_roles(daemon: Daemon) -> None:
    """As docs/access.md says."""
    release = (await daemon.submit(APPROVAL, "pause: {untilApproved: true, requiresRoles: [Captain]}")).release.id
    await daemon.until_state(release, State.APPROVING)
    async with over_tcp(daemon, "skipper") as client:
        assert "may not approve" in str(await refusal(client, release, CommandKind.APPROVE))
        await client.command(release, CommandBody(CommandKind.SKIP))

        async def is_at_the_next() -> bool:
            rollout = await daemon.rollout(release)
            return rollout.step == 2 and rollout.state is State.APPROVING

        await until(is_at_the_next)
        assert "asks for an approval by one of these roles: Captain" in str(await refusal(client, release, CommandKind.SKIP))


async def test_reading_tokens_order_nothing_within_their_scopes_either(daemon: Daemon) -> None:
    release = await waiting_for_an_answer(daemon)
    async with over_tcp(daemon, "board") as client:
        error = await refusal(client, release, CommandKind.APPROVE, "staging")
    assert (error.status, str(error)) == (403, "the token board may read, but not give orders")


def test_every_order_has_its_verb() -> None:
    assert {kind.value for kind in CommandKind} <= {verb.value for verb in Verb}


# --- patterns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "shop", True),
        ("shop", "shop", True),
        ("shop", "shop-eu", False),
        ("shop-*", "shop-eu", True),
        ("shop-*", "shop", False),
        ("prod-[ew]*", "prod-west", True),
        ("prod-[!e]*", "prod-east", False),
        ("Shop", "shop", False),
        ("sh?p", "shop", True),
        ("shop", "shop\nstall", False),
    ],
)
def test_patterns_are_those_of_a_shell_and_mind_the_case(pattern: str, name: str, matches: bool) -> None:
    for field, key in (
        ("applications", TargetKey(name, "t", "a")),
        ("targets", TargetKey("s", name, "a")),
        ("accounts", TargetKey("s", "t", name)),
    ):
        assert Scope.model_validate({field: [pattern]}).allows(Verb.ABORT, key) is matches


def test_a_scope_has_to_match_in_all_its_fields() -> None:
    scope = Scope.model_validate(
        {"applications": ["shop"], "targets": ["staging"], "accounts": ["dev"], "verbs": ["deploy"]}
    )
    assert scope.allows(Verb.DEPLOY, TargetKey("shop", "staging", "dev"))
    assert scope.allows(Verb.READ, TargetKey("shop", "staging", "dev"))
    assert not scope.allows(Verb.ABORT, TargetKey("shop", "staging", "dev"))
    for other in (TargetKey("x", "staging", "dev"), TargetKey("shop", "x", "dev"), TargetKey("shop", "staging", "x")):
        assert not scope.allows(Verb.READ, other)


# --- the end of a token ------------------------------------------------------------------------------------------------


async def test_an_expired_token_is_refused_with_its_name(daemon: Daemon) -> None:
    async with over_tcp(daemon, "gone") as client:
        with pytest.raises(DaemonRefused, match=r"the token gone has expired; .*headgate token new gone") as caught:
            await client.releases()
    assert (caught.value.status, caught.value.body.code) == (401, ErrorCode.UNAUTHORIZED)


class _SetClock(SystemClock):
    """Its wall time is set by hand."""

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


async def test_a_watch_ends_with_the_token_that_it_was_opened_with(stage: Stage, daemon: Daemon) -> None:
    release = await waiting_for_an_answer(daemon)
    clock = _SetClock(LONG_AGO - timedelta(seconds=1))
    application = web.Application(middlewares=[identify_callers(lambda: TOKENS, clock)])
    application.add_routes(Watches(replace(daemon.running.service, clock=clock), alive_seconds=0.05).routes())
    async with (
        serve_api(application, stage.folder / "another.sock", Address("127.0.0.1", 0)) as address,
        over_tcp(replace(daemon, address=address), "gone") as client,
    ):
        lines = client.watch(release)
        assert isinstance(await anext(lines), SnapshotLine)
        clock.at = LONG_AGO
        with anyio.fail_after(10):
            rest = [line async for line in lines]
    assert rest[-1] == EndLine(final=False, message="the token gone has expired")
