"""What a watched release looks like: as lines, in place on a terminal, and on its page."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from msgspec.structs import replace
from rich.console import Console

from adapters.cli.following import describe_result
from adapters.cli.output import OutputFormat, Printer
from adapters.cli.panel import Panel
from adapters.cli.progress import PlainProgress
from adapters.cli.texts import describe_release, duration
from adapters.http.bodies import EntryLine, ReleaseDetail, StepStanding
from adapters.http.views import describe_step, entry_body, release_detail, rollout_body
from engine.model import (
    Analysis,
    Approval,
    Gate,
    JournalEntry,
    Parked,
    Pause,
    Query,
    Release,
    ReleaseStatus,
    RolloutSpec,
    Snapshot,
    State,
    Step,
    Verdict,
    Webhook,
)
from engine.ports import StoredRollout
from tests.builders import percent, rollout_spec, target_plan
from tests.clocks import START

STEPS: tuple[Step, ...] = (percent(25), Pause(90.0), Approval(("ops", "leads"), 3_600.0), percent(50))
SPEC = rollout_spec(target_plan(STEPS))
RELEASE = Release(
    "r1", "shop", "the shop", ReleaseStatus.RUNNING, START, "ada", "deploy.yaml", rollouts=("r1.production",)
)
PAUSING = Snapshot(
    State.PAUSING,
    START,
    seq=7,
    step=1,
    facts={"web.mode": "canary"},
    weight=2_500,
    served=2_500,
    gates=(Gate("step:1", START, due_at=START + timedelta(seconds=90)),),
)


def advise(command: str) -> str:
    return f"headgate {command}"


def detail_of(snapshot: Snapshot, spec: RolloutSpec = SPEC, release: Release = RELEASE) -> ReleaseDetail:
    return release_detail(release, [StoredRollout(spec, snapshot)], None, lambda rollout: "", lambda stored: ())


def line_of(snapshot: Snapshot, text: str) -> EntryLine:
    entry = JournalEntry(
        "r1.production", snapshot.seq, START, "test", State.SHIFTING, snapshot.state, snapshot.step, text
    )
    return EntryLine(entry=entry_body(entry, "production"), rollout=rollout_body(SPEC, snapshot))


def plain(*, form: OutputFormat = OutputFormat.TEXT) -> tuple[PlainProgress, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return PlainProgress(Printer(form, out, err), lambda: START, advise), out, err


def test_lines_leave_out_the_machinery_and_say_what_a_step_asks_for() -> None:
    progress, out, _ = plain()
    progress.begin(detail_of(PAUSING))
    progress.entry(line_of(PAUSING, "done: set-weight:web:2500; web is read back at 25 %; step 2 of 4"))
    progress.entry(line_of(PAUSING, "next: set-weight:web:5000"))
    assert out.getvalue().splitlines() == [
        "2026-01-05T03:00:00Z  production    25 %  web is read back at 25 %; step 2 of 4: pause 90 seconds"
    ]


def test_lines_say_once_what_a_person_has_to_do() -> None:
    progress, out, _ = plain()
    waiting = replace(PAUSING, state=State.APPROVING, step=2, gates=(Gate("step:2", START),))
    progress.begin(detail_of(waiting))
    progress.stand(detail_of(waiting))
    progress.entry(line_of(waiting, "step 3 of 4"))
    order = "headgate approve r1 --target production --expect-step 3   (or reject)"
    assert [line for line in out.getvalue().splitlines() if "waits for an answer" in line] == [
        f"2026-01-05T03:00:00Z  production          waits for an answer (ops or leads): {order}"
    ]
    held = replace(PAUSING, held="drift: web was edited")
    for _ in range(2):
        progress.entry(line_of(held, "held: web was edited"))
    assert out.getvalue().count("held: headgate resume r1 --target production   (or abort)") == 1


def test_text_from_elsewhere_is_cleaned_before_it_reaches_a_terminal() -> None:
    progress, out, _ = plain()
    progress.begin(detail_of(PAUSING))
    progress.entry(line_of(PAUSING, "pod web-1: \x1b[31mred\x1b[0m"))
    assert "\x1b" not in out.getvalue()
    assert "red" in out.getvalue()


def screen(panel: Panel, console: Console) -> str:
    with console.capture() as captured:
        console.print(panel._render())
    return captured.get()


def test_a_terminal_shows_one_line_for_each_target_and_the_last_words() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    panel = Panel(console, lambda: START + timedelta(seconds=12), advise)
    panel.begin(detail_of(PAUSING))
    for number in range(10):
        panel.entry(line_of(PAUSING, f"word {number}"))
    shown = screen(panel, console)
    assert shown.splitlines()[0].strip() == "shop  r1  RUNNING"
    assert "━━━━━───────────────  25 %  pausing  step 2/4: pause 90 seconds; 1 min 18 s left" in shown
    assert "word 9" in shown
    assert "word 3" not in shown
    waiting = replace(PAUSING, state=State.APPROVING, step=2, gates=(Gate("step:2", START),))
    panel.entry(line_of(waiting, "step 3 of 4"))
    assert "headgate approve r1 --target production --expect-step 3" in screen(panel, console)


def test_a_terminal_is_not_steered_by_what_is_shown() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    panel = Panel(console, lambda: START, advise)
    panel.begin(detail_of(PAUSING))
    panel.entry(line_of(PAUSING, "[red]markup[/red] \x1b[2J"))
    shown = screen(panel, console)
    assert "[red]markup[/red]" in shown
    assert "\x1b[2J" not in shown


def test_the_panel_is_drawn_and_left_on_the_screen() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    with Panel(console, lambda: START, advise) as panel:
        panel.begin(detail_of(PAUSING))
        panel.note("the daemon answers again")
    assert "shop  r1  RUNNING" in out.getvalue()
    assert "the daemon answers again" in out.getvalue()


def test_the_page_of_a_release_says_where_it_stands_and_what_can_be_done() -> None:
    page = describe_release(detail_of(PAUSING), START + timedelta(seconds=72), advise)
    assert page.splitlines() == [
        "shop  r1  RUNNING",
        "  the shop",
        "  deploy.yaml, by ada, 2026-01-05 03:00:00Z",
        "",
        "production (embedded/shop): pausing since 2026-01-05 03:00:00Z",
        "  traffic to the new version: 25 %",
        "  doing: pauses; 18 s left",
        "  done  1  setWeight  25 %",
        "  now   2  pause      90 seconds",
        "        3  pause      until approved by ops or leads, within 1 hour",
        "        4  setWeight  50 %",
        "",
        "Next:",
        "  headgate abort r1",
    ]


def test_the_page_of_a_parked_release_says_where_and_why() -> None:
    parked = replace(PAUSING, state=State.PARKED, timers={}, parked=Parked(State.PAUSING, "KeyError: 'x'"))
    page = describe_release(detail_of(parked), START, advise)
    assert "  doing: parked until somebody resumes or aborts it" in page
    assert "  parked: in pausing: KeyError: 'x'" in page
    assert "  now   2  pause      90 seconds" in page
    assert "  headgate resume r1 --target production" in page


def test_a_result_names_every_target_and_where_the_story_is() -> None:
    release = replace(RELEASE, status=ReleaseStatus.FAILED)
    ended = replace(PAUSING, state=State.ROLLED_BACK, reason="aborted by ada")
    result = describe_result(detail_of(ended, release=release), advise)
    assert result.splitlines() == [
        "FAILED: release r1 of shop",
        "  production is as it was found: aborted by ada",
        "The whole story: headgate history r1",
    ]


def standings(snapshot: Snapshot) -> list[StepStanding]:
    return [step.standing for step in rollout_body(SPEC, snapshot).steps]


def test_where_the_steps_stand() -> None:
    done, current, stopped, ahead = StepStanding.DONE, StepStanding.CURRENT, StepStanding.STOPPED, StepStanding.AHEAD
    assert standings(replace(PAUSING, state=State.WAITING, step=-1)) == [ahead] * 4
    assert standings(PAUSING) == [done, current, ahead, ahead]
    assert standings(replace(PAUSING, state=State.ROLLED_BACK)) == [done, stopped, ahead, ahead]
    assert standings(replace(PAUSING, state=State.SUCCEEDED, step=4)) == [done] * 4
    nothing_live = replace(PAUSING, state=State.SUCCEEDED, step=4, facts={"web.mode": "create"})
    assert standings(nothing_live) == [StepStanding.SKIPPED] * 4


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (percent(0.01), ("setWeight", "0.01 %")),
        (Pause(1.0), ("pause", "1 second")),
        (Approval(), ("pause", "until approved")),
        (
            Analysis((Query("a", "p", ""), Query("b", "p", "")), 60.0, 3),
            ("analysis", "a, b, 3 times, every 1 minute"),
        ),
        (Webhook("smoke", "POST", "http://x/a-secret"), ("runWebhook", "smoke, answers within 24 hours")),
        (Webhook("smoke", "POST", "http://x", callback=False), ("runWebhook", "smoke")),
    ],
)
def test_steps_in_words(step: Step, words: tuple[str, str]) -> None:
    assert describe_step(step) == words


def test_what_an_analysis_has_come_to() -> None:
    step = Analysis((Query("a", "p", ""),), 60.0, 3)
    spec = rollout_spec(target_plan([step]))
    snapshot = replace(PAUSING, state=State.ANALYSING, step=0, gates=(Gate("step:0", START, empty_runs=2),))
    assert rollout_body(spec, snapshot).steps[0].note == "0 of 3 runs, 2 without data"
    judged = replace(snapshot, gates=(Gate("step:0", START, verdict=Verdict.FAILED, verdict_reason="a = 5"),))
    assert rollout_body(spec, judged).steps[0].note == "failed: a = 5"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3_600, "1 h"),
        (12_000, "3 h 20 min"),
    ],
)
def test_durations_in_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words
