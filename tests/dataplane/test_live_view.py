"""What a person sees of the demo, at the usual widths, in black and white."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from adapters.dataplane.display import Display, plain_lines
from adapters.dataplane.live_view import (
    DemoState,
    JournalLine,
    Outcome,
    Progress,
    ShareBar,
    StepLine,
    VersionLine,
    render,
)

ANALYSING = DemoState(
    title="headgate demo   potato-facts 1.0 → 1.1",
    state="analysing",
    outcome=Outcome.RUNNING,
    headline="are there at most 1 % errors in 1.1?",
    elapsed=12.43,
    steps=(
        StepLine("start 1.1", Progress.DONE, "told only while it lasts"),
        StepLine("25 % to 1.1", Progress.DONE),
        StepLine("analysis: error rate", Progress.CURRENT, "measurement 3 of 5, all good"),
        StepLine("integration test", Progress.AHEAD),
        StepLine("100 % to 1.1", Progress.AHEAD),
        StepLine("1.0 goes", Progress.AHEAD),
    ),
    versions=(
        VersionLine("1.0", "old version", 7500, 0.7461, 149.2, 0.0, pods_ready=3),
        VersionLine("1.1", "new version", 2500, 0.2539, 50.8, 0.004, pods_ready=2, pods_starting=1, pods_stopping=1),
    ),
    journal=(
        JournalLine(1, 0.0, "release accepted: potato-facts 1.1"),
        JournalLine(2, 3.21, "3 of 3 pods of 1.1 are available"),
        JournalLine(3, 3.3, "25 % to 1.1: read back"),
    ),
    requests=2481,
    failed=1,
    latency_p99=0.0031,
    error_limit=0.01,
)

AT_80_COLUMNS = """\
 headgate demo   potato-facts 1.0 → 1.1                                   0:12.4
 ▶ analysing  are there at most 1 % errors in 1.1?
╭─ Rollout ──────────────────────╮╭─ Traffic ──────────────────────────────────╮
│ ✓ start 1.1                    ││ 1.0  old version       149/s  0.0 % errors │
│ ✓ 25 % to 1.1                  ││ asked  ━━━━━━━━━━━━━━━━━━━╸──────  75.00 % │
│ ▶ analysis: error rate         ││ served ━━━━━━━━━━━━━━━━━━━╸──────  74.61 % │
│   measurement 3 of 5, all good ││ pods   ●●● 3 ready                         │
│ · integration test             ││                                            │
│ · 100 % to 1.1                 ││ 1.1  new version        51/s  0.4 % errors │
│ · 1.0 goes                     ││ asked  ━━━━━━╸───────────────────  25.00 % │
│                                ││ served ━━━━━━╸───────────────────  25.39 % │
│                                ││ pods   ●●○◌ 2 ready, 1 starting, 1 leaving │
╰────────────────────────────────╯╰───── 2,481 requests · 1 failed · p99 3 ms ─╯
╭─ Journal ────────────────────────────────────────────────────────────────────╮
│ 0:00.0 release accepted: potato-facts 1.1                                    │
│ 0:03.2 3 of 3 pods of 1.1 are available                                      │
│ 0:03.3 25 % to 1.1: read back                                                │
│                                                                              │
│                                                                              │
│                                                                              │
│                                                                              │
│                                                                              │
╰──────────────────────────────────────────────────────────────────────────────╯
"""


def draw(state: DemoState, width: int = 80) -> list[str]:
    console = Console(width=width, height=40, record=True, file=StringIO())
    console.print(render(state))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_whole_display_at_80_columns() -> None:
    assert draw(ANALYSING) == AT_80_COLUMNS.splitlines()
    assert len(AT_80_COLUMNS.splitlines()) <= 23, "a terminal of 24 lines keeps one for the cursor"


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(width: int) -> None:
    lines = draw(ANALYSING, width)
    assert max(len(line) for line in lines) == width
    text = "\n".join(lines)
    for words in ("▶ analysing", "✓ start 1.1", "▶ analysis: error rate", "75.00 %", "74.61 %", "25.39 %", "0.4 %"):
        assert words in text, words


def test_sections_stand_beside_each_other_where_there_is_room() -> None:
    assert "─ Rollout" in draw(ANALYSING, 72)[2] and "─ Traffic" in draw(ANALYSING, 72)[2]
    assert "─ Traffic" not in draw(ANALYSING, 71)[2]


def test_the_frame_does_not_move_while_the_journal_fills() -> None:
    many = tuple(JournalLine(number, float(number), f"entry {number}") for number in range(30))
    heights = {len(draw(replace(ANALYSING, journal=many[:count]))) for count in (0, 1, 8, 30)}
    assert len(heights) == 1
    shown = [line for line in draw(replace(ANALYSING, journal=many)) if "entry" in line]
    assert len(shown) == 8
    assert "entry 22" in shown[0] and "entry 29" in shown[-1]


def test_a_bad_version_is_marked_with_more_than_colour() -> None:
    old, new = ANALYSING.versions
    bad = replace(ANALYSING, versions=(old, replace(new, error_ratio=0.052)))
    assert any("▲ 5.2 % errors" in line for line in draw(bad))
    assert not any("▲" in line for line in draw(replace(bad, error_limit=None)))
    at_the_limit = replace(ANALYSING, versions=(old, replace(new, error_ratio=0.01)))
    assert not any("▲" in line for line in draw(at_the_limit)), "at most 1 % allows 1 %"


def test_a_rolled_back_rollout() -> None:
    old, new = ANALYSING.versions
    state = replace(
        ANALYSING,
        state="rolled_back",
        outcome=Outcome.ROLLED_BACK,
        headline="1.1 had 5.2 % errors; 1.0 serves everything",
        steps=(
            StepLine("25 % to 1.1", Progress.DONE),
            StepLine("analysis: error rate", Progress.FAILED, "5.2 % of at most 1 %"),
            StepLine("integration test", Progress.SKIPPED),
        ),
        versions=(
            replace(old, asked=10_000, served=1.0),
            replace(new, asked=0, served=0.0, requests_per_second=0.0, error_ratio=0.0, pods_ready=0, pods_starting=0,
                    pods_stopping=0),
        ),
    )  # fmt: skip
    text = "\n".join(draw(state))
    assert "↩ rolled_back  1.1 had 5.2 % errors; 1.0 serves everything" in text
    assert "✗ analysis: error rate" in text
    assert "5.2 % of at most 1 %" in text
    assert "- integration test" in text
    assert "pods   none" in text
    assert "100.00 %" in text


def test_before_the_first_request() -> None:
    nothing = VersionLine("1.0", "old version", 10_000, None, 0.0, 0.0, pods_ready=0)
    state = replace(ANALYSING, versions=(nothing,), steps=(), journal=())
    served = next(line for line in draw(state) if "served" in line)
    assert "━" not in served
    assert " - │" in served


def test_many_pods_are_a_number_and_not_a_row_of_dots() -> None:
    old, _ = ANALYSING.versions
    lines = draw(replace(ANALYSING, versions=(replace(old, pods_ready=40),)))
    assert any("pods   40 ready" in line for line in lines)
    assert not any("●" in line for line in lines)


def test_text_of_others_is_not_taken_for_markup() -> None:
    odd = replace(
        ANALYSING,
        title="[red]x[/nonsense]",
        headline="is [b] on?",
        steps=(StepLine("[dim]step[/]", Progress.CURRENT, "[i]detail"),),
        versions=(VersionLine("[1.0]", "[old]", 10_000, 1.0, 1.0, 0.0, 1),),
        journal=(JournalLine(1, 0.0, "pod [bold]web[/]"),),
    )
    text = "\n".join(draw(odd))
    for words in ("[red]x[/nonsense]", "is [b] on?", "[dim]step[/]", "[i]detail", "[1.0]  [old]", "pod [bold]web[/]"):
        assert words in text


@pytest.mark.parametrize(
    ("share", "bar"),
    [(0.0, "────"), (0.0001, "╸───"), (0.25, "━───"), (0.5, "━━──"), (0.9999, "━━━╸"), (1.0, "━━━━"), (1.2, "━━━━")],
)
def test_a_bar_shows_a_little_as_something_and_almost_all_as_not_all(share: float, bar: str) -> None:
    console = Console(width=4, record=True, file=StringIO())
    console.print(ShareBar(share, ""), end="")
    assert console.export_text().strip() == bar


def test_plain_lines_tell_what_is_new_once() -> None:
    assert plain_lines(None, ANALYSING) == [
        "headgate demo   potato-facts 1.0 → 1.1",
        "  0:00.0  release accepted: potato-facts 1.1",
        "  0:03.2  3 of 3 pods of 1.1 are available",
        "  0:03.3  25 % to 1.1: read back",
        "  0:12.4  analysing: are there at most 1 % errors in 1.1?",
    ]
    assert plain_lines(ANALYSING, replace(ANALYSING, elapsed=13.0, requests=2600)) == []
    one_more = replace(ANALYSING, journal=(*ANALYSING.journal, JournalLine(4, 12.9, "measurement 4: good")))
    assert plain_lines(ANALYSING, one_more) == ["  0:12.9  measurement 4: good"]
    dropped = replace(one_more, journal=one_more.journal[-1:])
    assert plain_lines(one_more, dropped) == [], "older lines may be left out of a state"
    moved = replace(ANALYSING, state="calling", headline="integration test")
    assert plain_lines(ANALYSING, moved) == ["  0:12.4  calling: integration test"]


def test_plain_lines_tell_the_splits_every_two_seconds_and_at_the_end() -> None:
    later = replace(ANALYSING, elapsed=14.0)
    (line,) = plain_lines(ANALYSING, later)
    assert line == (
        "  0:14.0  1.0 asked 75.00 % served 74.61 % errors 0.0 % pods 3/3; "
        "1.1 asked 25.00 % served 25.39 % errors 0.4 % pods 2/4; 2481 requests, 1 failed"
    )
    done = replace(later, elapsed=14.5, state="succeeded", outcome=Outcome.SUCCEEDED, headline="1.1 serves everything")
    told = plain_lines(later, done)
    assert told[0] == "  0:14.5  succeeded: 1.1 serves everything"
    assert told[1].startswith("  0:14.5  1.0 asked 75.00 %")
    assert plain_lines(done, replace(done, elapsed=99.0)) == [], "the end is told once"


def test_a_file_gets_plain_lines_without_control_characters() -> None:
    output = StringIO()
    with Display(Console(file=output, width=80)) as display:
        display.show(ANALYSING)
        display.show(replace(ANALYSING, elapsed=15.0))
    lines = output.getvalue().splitlines()
    assert lines == [*plain_lines(None, ANALYSING), *plain_lines(ANALYSING, replace(ANALYSING, elapsed=15.0))]
    assert "\x1b" not in output.getvalue()


def test_a_terminal_is_redrawn_in_place_and_keeps_the_last_state() -> None:
    output = StringIO()
    with Display(Console(file=output, width=80, height=30, force_terminal=True, color_system=None)) as display:
        display.show(ANALYSING)
        display.show(replace(ANALYSING, state="promoting"))
    text = output.getvalue()
    assert "▶ analysing" in text
    assert "\x1b[1A" in text, "the cursor goes up to draw over the state before"
    assert "▶ promoting" in text.rpartition("▶ analysing")[2]
    assert text.endswith("\x1b[?25h"), "the cursor is shown again"
