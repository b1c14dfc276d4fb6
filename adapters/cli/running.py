"""`run`: a deploy file carried out in the foreground, without a daemon. For build pipelines, and for trying things
out.

It is the daemon's own parts in this process: the same engine and store, and the same API on a private socket, so that
another terminal can approve or abort. Without --store the store is temporary, which decides what an interrupt means:
nobody could take the rollout up again, so traffic is put back before this ends. With --store the rollout stays where
it is, for a daemon to go on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from adapters.cli.composition import Connect, EmbeddedOptions, Running, compose
from adapters.cli.errors import InputInvalid, Interrupted
from adapters.cli.exit_codes import ExitCode
from adapters.cli.files import Choices, compile_plan, load
from adapters.cli.following import Follower, print_result
from adapters.cli.github import write_outputs
from adapters.cli.logs import configure_logs
from adapters.cli.orders import bundle, show_progress
from adapters.cli.output import Printer, ReaderGone
from adapters.cli.progress import Progress
from adapters.cli.signals import obey_signals
from adapters.cli.surroundings import Daemon
from adapters.http.bodies import Accepted, EntryBody, EntryLine, ErrorCode, ReleaseBody, ReleaseDetail
from adapters.http.client import DaemonClient, SocketPlace
from adapters.http.client_errors import DaemonRefused
from adapters.http.server import serve_api
from adapters.settings import LogFormat, LogLevel, Settings
from adapters.settings_store import StoreAddress
from engine.clock import SystemClock
from engine.errors import CommandRefused, Conflict
from engine.events import Command, CommandKind
from engine.gates import all_ids, step_of
from engine.model import FINAL_STATUSES, Expose, ReleasePlan, Webhook
from strategies.deployfile import LoadedFile, Problem


@dataclass(frozen=True, slots=True)
class RunOptions:
    path: Path
    choices: Choices
    embedded: bool = False
    """Let the embedded cluster stand for every account of the file."""
    linkerd: bool = False
    """With Linkerd on it."""
    store: Path | StoreAddress | None = None


async def run_file(options: RunOptions, settings: Settings, connect: Connect, printer: Printer) -> ExitCode:
    """Raises `InputInvalid`, `Conflict`, `StoreError` and `ClusterUnreachable`; then nothing was started."""
    configure_logs(LogLevel.ERROR, LogFormat.TEXT)
    loaded = load(options.path)
    plan = compile_plan(loaded, options.choices)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="headgate-run-"))
        run = _Run(options, settings, folder, loaded, plan, printer)
        stack.callback(run.clean_up)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(obey_signals, run.interrupt, run.end_at_once)
            code = await run.carry_out(connect)
            tasks.cancel_scope.cancel()
        return code


class _Run:
    """One file being carried out, and where that has come to."""

    def __init__(
        self,
        options: RunOptions,
        settings: Settings,
        folder: Path,
        loaded: LoadedFile,
        plan: ReleasePlan,
        printer: Printer,
    ) -> None:
        self._options = options
        self._folder = folder
        self._loaded = loaded
        self._plan = plan
        self._printer = printer
        self._is_temporary = options.store is None
        store = options.store if options.store is not None else folder / "headgate.db"
        self._settings = settings.model_copy(update={"store": store, "socket": folder / "headgate.sock"})
        self._daemon = Daemon(SocketPlace(self._settings.socket), f" --server unix:{self._settings.socket}")
        self._beginning = anyio.CancelScope()
        self._going_on = anyio.CancelScope()
        self._is_submitting = False
        self._submitted = anyio.Event()
        self._running: Running | None = None
        self._progress: Progress | None = None
        self._release = ""
        self._is_interrupted = False
        self._has_ended = False
        self._is_explained = False
        """Whether whoever interrupted was told what is left."""

    # --- the run -------------------------------------------------------------------------------------------------------

    async def carry_out(self, connect: Connect) -> ExitCode:
        embedded = EmbeddedOptions(self._plan, self._options.linkerd) if self._options.embedded else None
        address = self._settings.listen if self._is_reached_from_outside() else None
        detail: ReleaseDetail | None = None
        with self._beginning:
            async with (
                compose(self._settings, connect=connect, embedded=embedded) as self._running,
                serve_api(self._running.application, self._settings.socket, address),
                DaemonClient(self._daemon.place) as client,
            ):
                # Inside of the block, so that the parts are closed in peace when this is cut short.
                with self._going_on:
                    detail = await self._follow(client, await self._submit(client))
        if detail is None:
            raise self._explain_leaving()
        write_outputs(detail.release, os.environ)
        code = print_result(detail, self._printer, None)
        # One that had succeeded before the interrupt could reach it is a success.
        return ExitCode.INTERRUPTED if self._is_interrupted and code is not ExitCode.SUCCESS else code

    def _is_reached_from_outside(self) -> bool:
        """By a webhook's answer, or by who looks at a preview."""
        conditions = [step_of(target, gate) for target in self._plan.targets for gate in all_ids(target)]
        return any(isinstance(step, Expose) or (isinstance(step, Webhook) and step.callback) for step in conditions)

    async def _submit(self, client: DaemonClient) -> Accepted:
        self._is_submitting = True
        try:
            accepted = await client.submit(bundle(self._loaded, self._options.choices))
        except DaemonRefused as refusal:
            raise self._explain_refusal(refusal) from refusal
        self._release = accepted.release.id
        self._submitted.set()
        return accepted

    def _explain_refusal(self, refusal: DaemonRefused) -> Exception:
        body = refusal.body
        if body.code is ErrorCode.CONFLICT:
            return Conflict(
                f"{self._settings.store} holds release {body.release} of {self._plan.application}, not yet ended; "
                f"carry on with: {self._serve_command()}, or name another --store"
            )
        if body.code is not ErrorCode.INVALID:
            return refusal
        problems = [Problem(one.path, one.line, one.column, one.message) for one in body.problems]
        unknown = any(target.account not in self._settings.accounts for target in self._plan.targets)
        advice = f"; to try it out on no real cluster: headgate run {self._options.path} --cluster embedded"
        return InputInvalid(body.message + (advice if unknown and not self._options.embedded else ""), problems)

    async def _follow(self, client: DaemonClient, accepted: Accepted) -> ReleaseDetail:
        release = accepted.release
        try:
            for warning in accepted.warnings:
                self._printer.warn(f"warning: {warning}")
            where = "a temporary store" if self._is_temporary else str(self._settings.store)
            self._printer.say(f"Release {release.id} of {release.application} begins, in {where}.")
            with show_progress(self._daemon, self._printer) as self._progress:
                detail = await Follower(client, release.id, self._progress, SystemClock()).follow()
        except ReaderGone:
            await self._put_back_unseen(client)
            raise
        self._has_ended = detail.release.status in FINAL_STATUSES
        return detail

    async def _put_back_unseen(self, client: DaemonClient) -> None:
        """Nobody reads the output any more, as in `headgate run FILE | head`: that is an interrupt too."""
        if not self._is_temporary:
            return
        self._progress = _Unseen()
        await self._abort()
        await Follower(client, self._release, self._progress, SystemClock()).follow()
        self._has_ended = True

    # --- interrupts ----------------------------------------------------------------------------------------------------

    async def interrupt(self) -> None:
        """The first one: put traffic back if nobody else can, otherwise leave everything as it is."""
        self._is_interrupted = True
        if not self._is_submitting:
            self._beginning.cancel()
            return
        await self._submitted.wait()
        if not self._is_temporary:
            self._going_on.cancel()
            return
        self._note(
            "interrupted: everything is put back as it was, because nobody could carry on with a temporary store"
        )
        self._note("Ctrl-C again ends at once, and leaves everything as it stands")
        await self._abort()

    async def _abort(self) -> None:
        assert self._running is not None
        order = Command(CommandKind.ABORT, by="an interrupt")
        with suppress(CommandRefused):  # It is being put back already, or has ended.
            await self._running.engine.command(self._release, order)

    def end_at_once(self) -> None:
        self._going_on.cancel()

    def _note(self, text: str) -> None:
        if self._progress is not None:
            self._progress.note(text)
        else:
            self._printer.say(text)

    def _explain_leaving(self) -> Interrupted:
        self._is_explained = True
        if not self._release:
            return Interrupted("interrupted; nothing was started")
        return Interrupted(
            f"interrupted; release {self._release} is left as it stands; carry on with: {self._serve_command()}"
        )

    def _serve_command(self) -> str:
        source = self._settings.source
        return f"headgate serve --store {self._settings.store}" + (f" --config {source}" if source is not None else "")

    def clean_up(self) -> None:
        """The temporary store goes with the run, unless a rollout is left that somebody may want to carry on."""
        if self._is_temporary and self._release and not self._has_ended:
            self._settings.socket.unlink(missing_ok=True)
            if not self._is_explained:
                self._printer.warn(f"the store of release {self._release} is kept: {self._settings.store}")
            return
        shutil.rmtree(self._folder, ignore_errors=True)


class _Unseen:
    """Implements `adapters.cli.progress.Progress` for nobody."""

    def begin(self, detail: ReleaseDetail) -> None: ...

    def stand(self, detail: ReleaseDetail) -> None: ...

    def entry(self, line: EntryLine) -> None: ...

    def missed(self, entry: EntryBody) -> None: ...

    def release(self, body: ReleaseBody) -> None: ...

    def note(self, text: str) -> None: ...
