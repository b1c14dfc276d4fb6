"""Follows a release to its end, over lost connections and daemons that come and go; and says what became of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import Printer, plain, printable
from adapters.cli.progress import Progress
from adapters.http.bodies import EndLine, EntryLine, ErrorCode, ReleaseDetail, ReleaseLine, SnapshotLine, WatchLine
from adapters.http.client import DaemonClient
from adapters.http.client_errors import DaemonRefused, DaemonUnreachable
from engine.clock import Clock
from engine.model import ReleaseStatus, State

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
_PASSING = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.INTERNAL, ErrorCode.TIMEOUT})


class Follower:
    """Reads the watch of one release. What was missed in a gap is read from the journal, and told once."""

    def __init__(self, client: DaemonClient, release: str, progress: Progress, clock: Clock) -> None:
        self._client = client
        self._release = release
        self._progress = progress
        self._clock = clock
        self._seen: dict[str, int] | None = None
        """The last entry of each rollout that was told; None before the first connection."""
        self._is_lost = False

    async def follow(self) -> ReleaseDetail:
        """Returns how things stand at the end. A lost connection is tried again for as long as it takes."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                if await self._watch():
                    return await self._client.release(self._release)
                # Cut off as too slow, or the daemon is going down: the next contact will tell.
                await self._clock.sleep(FIRST_PAUSE_SECONDS)
                pause = FIRST_PAUSE_SECONDS
                continue
            except DaemonUnreachable as error:
                reason = str(error)
            except DaemonRefused as refusal:
                if refusal.body.code not in _PASSING:
                    raise
                reason = str(refusal)
            if not self._is_lost:
                self._progress.note(f"{reason}; the daemon is tried again until it answers")
            self._is_lost = True
            await self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _watch(self) -> bool:
        """One connection. Whether the release has ended."""
        async with aclosing(self._client.watch(self._release)) as lines:
            async for line in lines:
                if isinstance(line, SnapshotLine):
                    await self._begin(line.detail)
                elif isinstance(line, EndLine):
                    return line.final
                else:
                    self._take(line)
        raise DaemonUnreachable("the connection to the daemon was lost")

    def _take(self, line: WatchLine) -> None:
        if isinstance(line, EntryLine):
            if self._seen is not None:
                self._seen[line.entry.rollout] = line.entry.seq
            self._progress.entry(line)
        elif isinstance(line, ReleaseLine):
            self._progress.release(line.release)

    async def _begin(self, detail: ReleaseDetail) -> None:
        if self._is_lost:
            self._is_lost = False
            self._progress.note("the daemon answers again")
        now = {rollout.id: rollout.seq for rollout in detail.rollouts}
        if self._seen is None:
            self._progress.begin(detail)
            self._seen = dict.fromkeys(now, 0)
        # The story from its beginning, or from where the connection was lost: never twice, and without a gap.
        journal = await self._client.journal(self._release)
        for entry in journal.entries:
            if self._seen.get(entry.rollout, 0) < entry.seq <= now[entry.rollout]:
                self._progress.missed(entry)
        self._seen = now
        self._progress.stand(detail)


# --- the end -----------------------------------------------------------------------------------------------------------


def exit_code_of(status: ReleaseStatus) -> ExitCode:
    return ExitCode.SUCCESS if status is ReleaseStatus.SUCCEEDED else ExitCode.FAILED


def print_result(detail: ReleaseDetail, printer: Printer, advise: Callable[[str], str] | None) -> ExitCode:
    """The result as a document, and the exit code that goes with it. Without `advise` nobody is left to be asked."""
    printer.document(plain(detail), lambda: describe_result(detail, advise))
    return exit_code_of(detail.release.status)


def describe_result(detail: ReleaseDetail, advise: Callable[[str], str] | None) -> str:
    release = detail.release
    lines = [f"{release.status}: release {release.id} of {release.application}"]
    for rollout in detail.rollouts:
        reason = f": {rollout.reason}" if rollout.reason else ""
        words = _BACK_WORDS if release.rollback_of else _END_WORDS
        lines.append(f"  {rollout.target} {words.get(rollout.state, str(rollout.state))}{reason}")
    if advise is not None and release.status is not ReleaseStatus.SUCCEEDED:
        lines.append(f"The whole story: {advise(f'history {release.id}')}")
    return printable("\n".join(lines))


_END_WORDS = {
    State.SUCCEEDED: "runs the new version",
    State.ROLLED_BACK: "is as it was found",
    State.CANCELLED: "was not begun",
    State.REJECTED: "was not changed",
}
_BACK_WORDS = _END_WORDS | {State.SUCCEEDED: "runs the version before"}
