"""The commands that ask a daemon: deploy, rollback, list, status, history, and the orders to a release."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.cli import texts
from adapters.cli.exit_codes import ExitCode
from adapters.cli.files import Choices, compile_plan, load
from adapters.cli.following import Follower, print_result
from adapters.cli.github import write_outputs
from adapters.cli.output import Printer, plain
from adapters.cli.progress import PlainProgress, Progress
from adapters.cli.surroundings import Daemon
from adapters.http.bodies import Accepted, CommandBody, ReleaseDetail, RetryBody, RollbackBody, SubmitBody
from adapters.http.client import DaemonClient
from adapters.http.submission import pack
from engine.clock import SystemClock
from engine.events import CommandKind
from strategies.deployfile import LoadedFile


def bundle(loaded: LoadedFile, choices: Choices) -> SubmitBody:
    """The file with everything that it names, as it is sent to a daemon."""
    return pack(loaded, application=choices.application, context=choices.context, targets=choices.targets)


async def deploy(path: Path, choices: Choices, daemon: Daemon, printer: Printer, *, watch: bool) -> ExitCode:
    loaded = load(path)
    compile_plan(loaded, choices)
    async with DaemonClient(daemon.place) as client:
        accepted = await client.submit(bundle(loaded, choices))
        return await _begun(accepted, client, daemon, printer, watch=watch)


async def roll_back(
    release: str, body: RollbackBody, daemon: Daemon, printer: Printer, *, watch: bool
) -> ExitCode:
    async with DaemonClient(daemon.place) as client:
        accepted = await client.roll_back(release, body)
        return await _begun(accepted, client, daemon, printer, watch=watch)


async def retry(release: str, body: RetryBody, daemon: Daemon, printer: Printer, *, watch: bool) -> ExitCode:
    async with DaemonClient(daemon.place) as client:
        accepted = await client.retry(release, body)
        return await _begun(accepted, client, daemon, printer, watch=watch)


async def _begun(
    accepted: Accepted, client: DaemonClient, daemon: Daemon, printer: Printer, *, watch: bool
) -> ExitCode:
    for warning in accepted.warnings:
        printer.warn(f"warning: {warning}")
    if watch:
        printer.say(f"{_describe(accepted)} begins.")
        detail = await follow(client, accepted.release.id, daemon, printer)
        write_outputs(detail.release, os.environ)
        return print_result(detail, printer, daemon.advise)
    write_outputs(accepted.release, os.environ)
    printer.document(plain(accepted), lambda: _describe_accepted(accepted, daemon))
    return ExitCode.SUCCESS


def _describe(accepted: Accepted) -> str:
    release = accepted.release
    origin = f", which takes {release.rollback_of} back," if release.rollback_of else ""
    origin = f", another attempt at {release.retry_of}," if release.retry_of else origin
    return f"Release {release.id} of {release.application}{origin}"


def _describe_accepted(accepted: Accepted, daemon: Daemon) -> str:
    release = accepted.release
    link = f"\nSee it at {release.link}" if release.link else ""
    return (
        f"{_describe(accepted)} is accepted.{link}\n"
        f"Watch it with: {daemon.advise(f'status {release.id} --watch')}"
    )


async def list_releases(application: str | None, limit: int, daemon: Daemon, printer: Printer) -> ExitCode:
    async with DaemonClient(daemon.place) as client:
        found = await client.releases(application, limit)
    printer.document(plain(found), lambda: texts.describe_releases(found.releases, daemon.advise))
    return ExitCode.SUCCESS


async def status(release: str, daemon: Daemon, printer: Printer, *, watch: bool) -> ExitCode:
    async with DaemonClient(daemon.place) as client:
        detail = await client.release(release)
        if watch:
            detail = await follow(client, detail.release.id, daemon, printer)
            return print_result(detail, printer, daemon.advise)
    now = SystemClock().now()
    printer.document(plain(detail), lambda: texts.describe_release(detail, now, daemon.advise))
    return ExitCode.SUCCESS


async def history(release: str, daemon: Daemon, printer: Printer) -> ExitCode:
    async with DaemonClient(daemon.place) as client:
        journal = await client.journal(release)
    printer.document(plain(journal), lambda: texts.describe_journal(journal))
    return ExitCode.SUCCESS


async def give_order(
    kind: CommandKind,
    release: str,
    daemon: Daemon,
    printer: Printer,
    *,
    target: str | None,
    expected_step: int | None,
    reason: str,
    gate: str | None = None,
) -> ExitCode:
    body = CommandBody(kind, target, gate, expected_step, reason)
    async with DaemonClient(daemon.place) as client:
        taken = await client.command(release, body)
    text = f"{_TAKEN[kind]}: {', '.join(taken.targets)} of release {taken.release}."
    advice = f"See: {daemon.advise(f'status {taken.release}')}"
    printer.document(plain(taken), lambda: f"{text}\n{advice}")
    return ExitCode.SUCCESS


_TAKEN = {
    CommandKind.APPROVE: "Approved",
    CommandKind.REJECT: "Rejected, everything is put back",
    CommandKind.PAUSE: "Paused",
    CommandKind.RESUME: "Resumed",
    CommandKind.SKIP: "Skipped",
    CommandKind.PROMOTE: "Promoted; conditions on the way hold all the same",
    CommandKind.ABORT: "Aborted, everything is put back",
}


# --- watching ----------------------------------------------------------------------------------------------------------


async def follow(client: DaemonClient, release: str, daemon: Daemon, printer: Printer) -> ReleaseDetail:
    try:
        with show_progress(daemon, printer) as progress:
            return await Follower(client, release, progress, SystemClock()).follow()
    except asyncio.CancelledError:
        printer.warn(f"release {release} goes on; watch it again with: {daemon.advise(f'status {release} --watch')}")
        raise


@contextmanager
def show_progress(daemon: Daemon, printer: Printer) -> Iterator[Progress]:
    """In place on a terminal that can do it, as lines anywhere else."""
    clock = SystemClock()
    if printer.is_text and printer.out.isatty():
        from rich.console import Console

        from adapters.cli.panel import Panel

        console = Console(file=printer.out)
        if console.is_terminal and not console.is_dumb_terminal:
            with Panel(console, clock.now, daemon.advise) as panel:
                yield panel
            return
    yield PlainProgress(printer, clock.now, daemon.advise)
