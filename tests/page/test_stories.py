"""Rollouts as somebody sees and steers them in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.http.bodies import CommandBody, SubmitBody
from engine.events import CommandKind
from engine.model import ReleaseStatus, State
from tests.http.stage import APPROVAL, Daemon, Stage, percent, submission
from tests.page.screen import open_screen
from tests.page.stage import BOARD, CI, OLGA, PEOPLE, embedded_daemon, open_stage, serve_under_a_path

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.browser

MARKUP = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
BY_MANAGERS = "pause: {untilApproved: true, requiresRoles: [release-managers]}"


async def test_a_canary_on_the_embedded_cluster_is_approved_in_the_browser_and_succeeds(tmp_path: Path, browser: Browser) -> None:
    canary = submission(percent(25), APPROVAL, mesh=True, account="embedded")
    async with embedded_daemon(open_stage(tmp_path), canary) as daemon, open_screen(browser, daemon) as screen:
        await screen.open()
        await screen.sign_in("not-a-token")
        await screen.sees("this token is not one of those in the daemon's settings")
        await screen.sign_in(OLGA)
        await screen.sees("No releases yet")
        accepted = await daemon.client.submit(canary)
        await screen.page.get_by_role("link", name="shop").click()
        await screen.sees_live()
        await screen.sees_state("awaits an answer")
        await screen.sees("New version: 25 % served")
        await screen.sees(screen.card().locator("[aria-current=step]", has_text="until approved"))
        await screen.order("Approve").click()
        await screen.page.get_by_label("Reason").fill("error rate is flat")
        await screen.page.keyboard.press("Enter")
        await screen.sees_state("succeeded")
        await screen.sees("New version: 100 % served")
        await screen.sees(screen.journal("approved by olga: error rate is flat"))
        assert await daemon.until_ended(accepted.release.id) is ReleaseStatus.SUCCEEDED
        await screen.page.reload()
        await screen.sees_state("succeeded")
        await screen.page.get_by_role("button", name="Sign out").click()
        await screen.sees(screen.page.get_by_label("Token"))
        assert await screen.page.evaluate("JSON.stringify(sessionStorage) + document.cookie") == "{}"
        assert await screen.page.locator("main").get_by_text("shop").count() == 0


async def test_an_abort_asks_once_and_puts_everything_back(daemon: Daemon, browser: Browser) -> None:
    release = (await daemon.submit(percent(10), APPROVAL, targets=("staging", "production"))).release.id
    async with open_screen(browser, daemon) as screen:
        await screen.open_release(release, OLGA)
        await screen.sees_state("awaits an answer", "staging")
        await screen.sees_state("waiting", "production")
        await screen.order("Approve", "staging").click()
        order = screen.page.get_by_role("list", name="Order of the targets").get_by_role("listitem")
        assert [text.split()[0] for text in await order.all_inner_texts()] == ["staging", "production"]
        await screen.sees(screen.card("production").get_by_text("after staging"))
        await screen.order("Abort", "staging").click()
        await screen.sees("All traffic goes back to the old version, and everything is put back as it was.")
        await screen.page.keyboard.press("Escape")
        await screen.sees(screen.card("staging").locator("[data-order=abort]:focus"))
        assert (await daemon.rollout(release, "staging")).state is State.APPROVING
        await screen.page.keyboard.press("Enter")
        await screen.page.get_by_label("Reason").fill("incident 812")
        await screen.page.get_by_role("button", name="Abort staging").click()
        await screen.sees_state("rolled back", "staging")
        await screen.sees_state("cancelled", "production")
        await screen.sees(screen.card("staging").get_by_text("aborted by olga: incident 812"))
        assert await daemon.until_ended(release) is ReleaseStatus.FAILED
        await screen.page.get_by_role("button", name="Retry").click()
        assert await screen.page.locator("button[data-order]:visible").count() == 1
        await screen.page.keyboard.press("Enter")
        await screen.sees(f"tries again {release}")
        await screen.sees_state("awaits an answer", "staging")


async def test_markup_in_what_strangers_write_stays_text(daemon: Daemon, browser: Browser) -> None:
    plain = submission(percent(10), APPROVAL)
    text = plain.text.replace("description: the shop's web", f"description: {json.dumps(MARKUP)}")
    name = f"{MARKUP}.yaml"
    accepted = await daemon.client.submit(SubmitBody(name=name, text=text, manifests=plain.manifests))
    release = accepted.release.id
    await daemon.until_state(release, State.APPROVING)
    async with open_screen(browser, daemon) as screen:
        await screen.open()
        await screen.sign_in(OLGA)
        await screen.sees(MARKUP)
        await screen.page.get_by_role("link", name="shop").click()
        await screen.sees(name)
        await screen.order("Reject").click()
        await screen.page.get_by_label("Reason").fill(MARKUP)
        await screen.page.keyboard.press("Enter")
        await screen.sees_state("rolled back")
        await screen.sees(screen.journal(f"rejected by olga: {MARKUP}"))
        await screen.sees(screen.card().get_by_text(MARKUP))
        assert await screen.page.locator("main img, main b").count() == 0
        assert "owned" not in await screen.page.title()
        refused = "document.body.innerHTML = '<b>x</b>'"
        assert await screen.page.evaluate(f"(() => {{ try {{ {refused}; return false }} catch {{ return true }} }})()")
        screen.complaints.clear()


async def test_the_page_outlives_its_daemon_and_is_shown_out_when_its_token_is_taken_away(
    stage: Stage, browser: Browser
) -> None:
    async with stage.daemon() as first:
        stage.listen = first.address
    async with open_screen(browser, first) as screen:
        async with stage.daemon() as daemon:
            release = (await daemon.submit(percent(10), APPROVAL)).release.id
            await daemon.until_state(release, State.APPROVING)
            await screen.open_release(release, OLGA)
            await screen.sees_live()
        await screen.sees(screen.page.locator(".liveness.lost"))
        await screen.order("Approve").click()
        await screen.page.get_by_label("Reason").fill("all is well")
        await screen.page.keyboard.press("Enter")
        await screen.sees("the daemon does not answer; whether the order arrived is not known")
        async with stage.daemon() as daemon:
            await screen.sees_live()
            assert await screen.page.get_by_label("Reason").input_value() == "all is well"
            await screen.page.get_by_label("Reason").press("Enter")
            await screen.sees_state("succeeded")
            await screen.sees(screen.journal("approved by olga"))
            await screen.sees(screen.journal("all is well"))
            await daemon.until_ended(release)
            await screen.page.get_by_role("link", name="← Releases").click()
            await screen.sees_live()
        stage.tokens = PEOPLE[1:]
        async with stage.daemon():
            await screen.sees("this token is not one of those in the daemon's settings")
            await screen.sees(screen.page.get_by_label("Token"))


async def test_a_late_answer_meets_no_other_step_a_late_abort_does_and_what_is_typed_outlives_updates(
    daemon: Daemon, browser: Browser
) -> None:
    steps = (percent(10), APPROVAL, percent(20), APPROVAL, percent(30), APPROVAL)
    release = (await daemon.submit(*steps)).release.id
    await daemon.until_state(release, State.APPROVING)
    async with open_screen(browser, daemon) as screen:
        await screen.open_release(release, OLGA)
        await screen.order("Approve").click()
        await screen.page.get_by_label("Reason").fill("for ten per cent")
        await daemon.client.command(release, CommandBody(CommandKind.APPROVE, reason="somebody else was faster"))
        await screen.sees("The rollout has left this step since you opened this.")
        await screen.sees(screen.page.locator("form.order input:focus"))
        assert await screen.page.get_by_label("Reason").input_value() == "for ten per cent"
        await screen.page.keyboard.press("Enter")
        await screen.sees("is at step 4, not at step 2: the order was meant for another step and was not carried out")
        await screen.order("Abort").click()
        await daemon.client.command(release, CommandBody(CommandKind.APPROVE, expected_step=4))
        await screen.sees(screen.card().locator("[aria-current=step]", has_text="6"))
        await screen.page.get_by_label("Reason").fill("whatever step it is")
        await screen.page.keyboard.press("Enter")
        await screen.sees_state("rolled back")
        await screen.sees(screen.journal("aborted by olga: whatever step it is"))


async def test_behind_a_proxy_the_daemon_may_have_a_path_of_its_own(daemon: Daemon, browser: Browser) -> None:
    release = (await daemon.submit(percent(10), APPROVAL)).release.id
    async with serve_under_a_path("/delivery", daemon) as origin, open_screen(browser, daemon) as screen:
        screen.origin = origin
        await screen.open("/delivery/")
        await screen.sign_in(OLGA)
        await screen.page.get_by_role("link", name="shop").click()
        await screen.sees_state("awaits an answer")
        await screen.order("Approve").click()
        await screen.page.keyboard.press("Enter")
        await screen.sees_state("succeeded")
        assert screen.page.url == f"{origin}/delivery/ui/#/releases/{release}"


async def test_one_of_several_conditions_is_answered_by_itself(daemon: Daemon, browser: Browser) -> None:
    plain = submission(percent(10))
    strategy = "    strategy: gentle\n"
    conditions = (BY_MANAGERS, "pause: {untilApproved: true, approvalExpiration: {duration: 2, unit: hours}}")
    before = "".join(f"        - {condition}\n" for condition in conditions)
    text = plain.text.replace(strategy, f"{strategy}    constraints:\n      beforeDeployment:\n{before}")
    accepted = await daemon.client.submit(SubmitBody(name=plain.name, text=text, manifests=plain.manifests))
    async with open_screen(browser, daemon) as screen:
        await screen.open_release(accepted.release.id, OLGA)
        conditions_shown = screen.card().get_by_role("list", name="Conditions").get_by_role("listitem")
        await screen.sees(conditions_shown.filter(has_text="until approved by release-managers"))
        await screen.sees(conditions_shown.filter(has_text="the question expires 1 h 59 min"))
        await screen.order("Approve").click()
        await screen.page.get_by_label("Which one").select_option("before:1")
        await screen.page.get_by_label("Reason").fill("the second one")
        await screen.page.keyboard.press("Enter")
        await screen.sees(screen.card().locator(".gates .done", has_text="within 2 hours"))
        await screen.sees(screen.card().locator(".gates .ask", has_text="release-managers"))
        await screen.order("Approve").click()
        await screen.page.keyboard.press("Enter")
        await screen.sees_state("succeeded")
        await screen.sees(screen.journal("the second one"))


async def test_what_a_token_may_not_do_is_said_and_not_offered(daemon: Daemon, browser: Browser) -> None:
    release = (await daemon.submit(percent(10), BY_MANAGERS)).release.id
    await daemon.until_state(release, State.APPROVING)
    async with open_screen(browser, daemon) as screen:
        await screen.open_release(release, CI)
        await screen.sees("ci may not answer here: it takes release-managers.")
        assert await screen.order("Approve").count() == 0
        assert await screen.order("Abort").is_enabled()
        await screen.page.get_by_role("button", name="Sign out").click()
        await screen.sign_in(BOARD)
        await screen.sees("board, may only look")
        await screen.sees_state("awaits an answer")
        assert await screen.page.locator("button[data-order]").count() == 0


async def test_the_list_is_live_and_filtered_and_a_release_is_paused_and_taken_back(daemon: Daemon, browser: Browser) -> None:
    async with open_screen(browser, daemon, width=360, height=700) as screen:
        await screen.open()
        await screen.sign_in(OLGA)
        await screen.sees_live()
        shop = (await daemon.submit(percent(10), APPROVAL)).release.id
        harbour = (await daemon.submit(APPROVAL, application="harbour")).release.id
        await screen.sees("2 releases")
        await screen.page.get_by_label("Application").fill("SHO")
        await screen.sees("1 of 2 releases")
        await screen.page.get_by_label("Status").select_option("FAILED")
        await screen.sees("0 of 2 releases")
        await daemon.until_state(shop, State.APPROVING)
        await daemon.client.command(shop, CommandBody(CommandKind.ABORT))
        await screen.sees("1 of 2 releases")
        await screen.page.get_by_label("Status").select_option("")
        await screen.page.get_by_label("Application").fill("harb")
        await screen.page.get_by_role("link", name="harbour").click()
        await screen.order("Pause").click()
        await screen.page.keyboard.press("Enter")
        await screen.sees_state("held")
        await screen.sees(screen.card().locator(".notice", has_text="Held paused by olga"))
        assert await screen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await screen.order("Resume").click()
        await screen.page.keyboard.press("Enter")
        await screen.sees_state("awaits an answer")
        await screen.order("Approve").click()
        await screen.page.keyboard.press("Enter")
        assert await daemon.until_ended(harbour) is ReleaseStatus.SUCCEEDED
        await screen.page.get_by_role("button", name="Roll back").click()
        await screen.page.get_by_label("Reason").fill("too slow")
        await screen.page.keyboard.press("Enter")
        await screen.sees(f"takes back {harbour}")
        await screen.sees(screen.journal(f"rollback of {harbour} by olga: too slow"))
        await screen.sees_state("succeeded")
