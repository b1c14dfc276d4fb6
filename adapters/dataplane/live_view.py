"""The demo on a terminal: one rollout's steps, the split that was asked for beside the one that was served, the journal.

Pure: a `DemoState` of plain values in, something that rich can print out. It must not know where the values come from.
Every mark is a character first and a colour second, so that it reads the same in black and white.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.panel import Panel
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

JOURNAL_LINES = 8
SIDE_BY_SIDE_WIDTH = 72
"""Columns from which the steps and the traffic stand beside each other."""
MOST_POD_DOTS = 8
BASIS_POINTS = 10_000


class Progress(Enum):
    """How far a step of the rollout has come."""

    AHEAD = auto()
    CURRENT = auto()
    DONE = auto()
    FAILED = auto()
    SKIPPED = auto()


class Outcome(Enum):
    """How the rollout stands as a whole."""

    RUNNING = auto()
    ABORTING = auto()
    SUCCEEDED = auto()
    ROLLED_BACK = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step as a person would say it ("25 % to 1.1"); `detail` is what is to say about it now, or nothing."""

    title: str
    progress: Progress
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VersionLine:
    """What is known of one version.

    `asked` is the share of traffic that the split names, in basis points (0 to 10000); `served` the share of answers
    that the mesh really gave to it in the last while, 0 to 1, None before the first. `error_ratio`, 0 to 1, is the share
    of 5xx among its answers in that while. Pods are counted by what they do: a stopping one serves what it has.
    """

    name: str
    role: str
    asked: int
    served: float | None
    requests_per_second: float
    error_ratio: float
    pods_ready: int
    pods_starting: int = 0
    pods_stopping: int = 0

    @property
    def pods(self) -> int:
        return self.pods_ready + self.pods_starting + self.pods_stopping


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One entry of the journal: its number in it, seconds since the start of the demo, and what happened."""

    number: int
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class DemoState:
    """All that the display shows at one moment.

    `title` names the application and where it goes, `state` is the rollout's state by its name in the state table, and
    `headline` says in a sentence what it is about. `elapsed` is in seconds since the start, `latency_p99` in seconds.
    `error_limit` is the error ratio (0 to 1) above which a version is marked, None for no mark. `requests` and `failed`
    count what the users sent and lost since the start. Only the last journal lines are shown, so all may be given.
    """

    title: str
    state: str
    outcome: Outcome
    headline: str
    elapsed: float
    steps: tuple[StepLine, ...]
    versions: tuple[VersionLine, ...]
    journal: tuple[JournalLine, ...]
    requests: int = 0
    failed: int = 0
    latency_p99: float = 0.0
    error_limit: float | None = None


STEP_MARKS = {
    Progress.AHEAD: ("·", "dim"),
    Progress.CURRENT: ("▶", "bold cyan"),
    Progress.DONE: ("✓", "green"),
    Progress.FAILED: ("✗", "bold red"),
    Progress.SKIPPED: ("-", "dim"),
}
OUTCOME_MARKS = {
    Outcome.RUNNING: ("▶", "bold cyan"),
    Outcome.ABORTING: ("!", "bold yellow"),
    Outcome.SUCCEEDED: ("✓", "bold green"),
    Outcome.ROLLED_BACK: ("↩", "bold yellow"),
    Outcome.FAILED: ("✗", "bold red"),
}
VERSION_STYLES = ("blue", "magenta")


def render(state: DemoState) -> RenderableType:
    """The whole display; it fits 80 columns and 24 lines with up to 8 steps, and uses what is wider."""
    return Group(
        render_header(state),
        SideBySide(
            Section("Rollout", render_steps(state.steps)),
            Section("Traffic", render_versions(state), describe_users(state)),
        ),
        Section("Journal", render_journal(state.journal)).panel(),
    )


def render_header(state: DemoState) -> RenderableType:
    mark, style = OUTCOME_MARKS[state.outcome]
    header = Table.grid(expand=True, padding=(0, 1))
    header.add_column(ratio=1)
    header.add_column(no_wrap=True, justify="right")
    header.add_row(one_line(f" {state.title}", "bold"), Text(format_time(state.elapsed), "dim"))
    headline = one_line(" ").append(f"{mark} {state.state}", style).append(f"  {state.headline}")
    return Group(header, headline)


def render_steps(steps: Iterable[StepLine]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column()
    for step in steps:
        mark, style = STEP_MARKS[step.progress]
        table.add_row(Text(mark, style), one_line(step.title, "" if step.progress is Progress.DONE else style))
        if step.detail and step.progress in (Progress.CURRENT, Progress.FAILED):
            table.add_row("", one_line(step.detail, "dim"))
    return table


def render_versions(state: DemoState) -> RenderableType:
    parts: list[RenderableType] = []
    for number, version in enumerate(state.versions):
        if parts:
            parts.append("")
        parts.append(render_version(version, VERSION_STYLES[number % len(VERSION_STYLES)], state.error_limit))
    return Group(*parts)


def render_version(version: VersionLine, style: str, error_limit: float | None) -> RenderableType:
    title = Table.grid(expand=True, padding=(0, 1))
    title.add_column(ratio=1)
    title.add_column(no_wrap=True, justify="right")
    name = one_line("").append(version.name, f"bold {style}").append(f"  {version.role}")
    title.add_row(name, render_answers(version, error_limit))
    shares = Table.grid(expand=True, padding=(0, 1))
    shares.add_column(width=6, style="dim")
    shares.add_column(ratio=1)
    shares.add_column(no_wrap=True, justify="right", min_width=8)
    asked = version.asked / BASIS_POINTS
    served = "-" if version.served is None else format_percent(version.served)
    shares.add_row("asked", ShareBar(asked, ""), format_percent(asked))
    shares.add_row("served", ShareBar(version.served or 0.0, style), served)
    pods = Table.grid(padding=(0, 1))
    pods.add_column(width=6, style="dim")
    pods.add_column()
    pods.add_row("pods", render_pods(version))
    return Group(title, shares, pods)


def render_answers(version: VersionLine, error_limit: float | None) -> Text:
    """The version's rate and its errors, marked when they are too many."""
    rate = f"{version.requests_per_second:.0f}/s"
    errors = f"{format_percent(version.error_ratio, decimals=1)} errors"
    if error_limit is not None and version.error_ratio > error_limit:
        return Text.assemble((rate, "dim"), "  ", (f"▲ {errors}", "bold red"))
    return Text(f"{rate}  {errors}", "dim" if version.error_ratio == 0 else "")


def render_pods(version: VersionLine) -> Text:
    counts = [
        (version.pods_ready, "●", "ready", ""),
        (version.pods_starting, "○", "starting", "yellow"),
        (version.pods_stopping, "◌", "leaving", "dim"),
    ]
    if version.pods == 0:
        return Text("none", "dim")
    text = one_line("")
    if version.pods <= MOST_POD_DOTS:
        for count, dot, _, style in counts:
            text.append(dot * count, style)
        text.append(" ")
    text.append(", ".join(f"{count} {word}" for count, _, word, _ in counts if count))
    return text


def render_journal(journal: tuple[JournalLine, ...]) -> RenderableType:
    """Always as high as a full one, so that nothing below or above moves while it fills."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, justify="right", style="dim", min_width=6)
    table.add_column()
    shown = journal[-JOURNAL_LINES:]
    for line in shown:
        table.add_row(format_time(line.at), one_line(line.text))
    for _ in range(JOURNAL_LINES - len(shown)):
        table.add_row("", "")
    return table


def one_line(text: str, style: str = "") -> Text:
    """Text as it is, never markup, cut with an ellipsis where it is too long.

    The text and not its column says so: a column that must not wrap would take its room from the narrow ones.
    """
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def describe_users(state: DemoState) -> str:
    """What the users have met so far."""
    return f"{state.requests:,} requests · {state.failed:,} failed · p99 {state.latency_p99 * 1000:.0f} ms"


def format_percent(share: float, decimals: int = 2) -> str:
    return f"{share * 100:.{decimals}f} %"


def format_time(seconds: float) -> str:
    """Minutes, seconds and tenths: 0:07.3."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


@dataclass(frozen=True, slots=True)
class ShareBar:
    """A share (0 to 1) as a heavy line on a light one, as wide as there is room; more than nothing is never invisible."""

    share: float
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        halves = options.max_width * 2
        filled = round(min(max(self.share, 0.0), 1.0) * halves)
        if 0 < self.share < 1:
            filled = min(max(filled, 1), halves - 1)
        full, half = divmod(filled, 2)
        empty = options.max_width - full - half
        yield Segment("━" * full + "╸" * half, console.get_style(self.style))
        yield Segment("─" * empty, Style(dim=True))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(4, options.max_width)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the display with a light frame, a title and, at its lower right, perhaps a few words."""

    title: str
    content: RenderableType
    subtitle: str = ""

    def panel(self, height: int | None = None) -> Panel:
        return Panel(
            self.content,
            title=Text(self.title, "bold"),
            title_align="left",
            subtitle=Text(self.subtitle, "dim") if self.subtitle else None,
            subtitle_align="right",
            box=box.ROUNDED,
            border_style="dim",
            padding=(0, 1),
            height=height,
        )


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two sections beside each other and equally high, or above each other where that would be too narrow."""

    left: Section
    right: Section

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < SIDE_BY_SIDE_WIDTH:
            yield self.left.panel()
            yield self.right.panel()
            return
        left_width = options.max_width * 17 // 40
        widths = (left_width, options.max_width - left_width)
        row = Table.grid()
        for width in widths:
            row.add_column(width=width)
        height = max(
            len(console.render_lines(section.panel(), options.update(width=width, height=None)))
            for section, width in zip((self.left, self.right), widths, strict=True)
        )
        row.add_row(self.left.panel(height), self.right.panel(height))
        yield row
