"""The command line: what can be said to Headgate. Each command only names its options here; its work is imported when
it is used, so that `--help` and `validate` answer at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.cli.completing import offer_applications
from adapters.cli.exit_codes import ExitCode
from adapters.cli.importing import import_command
from adapters.cli.options import (
    ApplicationOption,
    ClusterKind,
    ConfigOption,
    ContextOption,
    FileArgument,
    GateOption,
    OutputOption,
    ReasonOption,
    ReleaseArgument,
    ServerOption,
    StepOption,
    TargetOption,
    TargetsOption,
    WaitOption,
    WatchOption,
)
from adapters.cli.output import OutputFormat, Printer

if TYPE_CHECKING:
    from adapters.cli.composition import Connect, ConnectAs
    from adapters.cli.files import Choices
    from adapters.cli.surroundings import Daemon
    from adapters.settings import Settings
    from adapters.settings_store import StoreAddress

app = typer.Typer(
    name="headgate",
    help="Progressive delivery for Kubernetes from outside the clusters.",
    epilog="Exit codes: 0 success, 1 failed or rolled back, 2 bad input or usage, 3 conflict, 4 daemon or cluster "
    "unreachable, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="STORE", help="The store, instead of the settings' one: a path, or postgresql://..."),
]


@dataclass(frozen=True, slots=True)
class Outside:
    """What is handed to the commands from outside; None stands for the real clusters."""

    connect: Connect | None = None


# --- files -------------------------------------------------------------------------------------------------------------


@app.command()
def validate(file: FileArgument, output: OutputOption = OutputFormat.TEXT) -> None:
    """Check a deploy file and everything that it names."""
    from adapters.cli import files

    _end(files.validate(file, _printer(output)))


@app.command()
def plan(
    file: FileArgument,
    target: TargetsOption = None,
    application: ApplicationOption = None,
    context: ContextOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show every object that would be created, changed or removed, step by step."""
    from adapters.cli.plan_view import plan_file

    _end(plan_file(file, _choices(target, application, context), _printer(output)))


@app.command()
def schema(output: OutputOption = OutputFormat.TEXT) -> None:
    """Print the JSON Schema of deploy files."""
    from adapters.cli import files

    _end(files.print_schema(_printer(output)))


app.command("import")(import_command)


@app.command()
def doctor(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The deploy file; without it, the accounts alone.")
    ] = None,
    print_role: Annotated[
        bool, typer.Option("--print-role", help="Only print the smallest Role that the file needs, for kubectl apply.")
    ] = False,
    target: TargetsOption = None,
    application: ApplicationOption = None,
    context: ContextOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Look for what stands in the way of a rollout: login, versions, rights, routers, meshes. Changes nothing."""
    from adapters.cli.doctor import DoctorOptions, examine
    from adapters.cli.surroundings import read_settings

    options = DoctorOptions(file, _choices(target, application, context), print_role)
    _end(_wait(examine(options, read_settings(config), _printer(output))))


# --- carrying out ------------------------------------------------------------------------------------------------------


@app.command()
def run(
    context: typer.Context,
    file: FileArgument,
    cluster: Annotated[
        ClusterKind | None,
        typer.Option(
            "--cluster",
            metavar="KIND",
            help="embedded: a small cluster inside of this process, for all accounts; embedded-linkerd: one with Linkerd's "
            "ServiceProfiles, and what makes them of TrafficSplits.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="STORE", help="Keep the rollout here; without it the store is temporary."),
    ] = None,
    target: TargetsOption = None,
    application: ApplicationOption = None,
    variables: ContextOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Carry a deploy file out in the foreground, without a daemon.

    Ctrl-C puts everything back as it was when the store is temporary, and leaves the rollout as it stands when it is
    kept by --store; a second Ctrl-C ends at once.
    """
    from adapters.cli.running import RunOptions, run_file
    from adapters.cli.surroundings import read_settings

    choices = _choices(target, application, variables)
    linkerd = cluster is ClusterKind.EMBEDDED_LINKERD
    kept = _read_store(store) if store is not None else None
    options = RunOptions(file, choices, embedded=cluster is not None, linkerd=linkerd, store=kept)
    _end(_wait(run_file(options, read_settings(config), _connect(context), _printer(output))))


@app.command()
def serve(
    context: typer.Context,
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """Run the daemon.

    At a SIGHUP it reads its settings again: tokens, secrets, limits, windows, freezes, deploy folders and the log. What
    needs a restart is said in its log.
    """
    from adapters.cli.serving import serve as serve_daemon
    from adapters.cli.surroundings import read_settings

    def read() -> Settings:
        settings = read_settings(config)
        return settings if store is None else settings.model_copy(update={"store": _read_store(store)})

    _end(_wait(serve_daemon(read(), _connect_as(context), read)))


@app.command()
def deploy(
    file: FileArgument,
    watch: WatchOption = False,
    target: TargetsOption = None,
    application: ApplicationOption = None,
    context: ContextOption = None,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Give a deploy file to the daemon."""
    from adapters.cli import orders

    choices = _choices(target, application, context)
    _end(_wait(orders.deploy(file, choices, _daemon(server, config), _printer(output), watch=watch)))


# --- looking -----------------------------------------------------------------------------------------------------------


@app.command("list")
def list_releases(
    application: Annotated[
        str | None,
        typer.Option(
            "--application",
            "-n",
            metavar="NAME",
            help="Only releases of this application.",
            autocompletion=offer_applications,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="The most to show.")] = 20,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List the newest releases."""
    from adapters.cli import orders

    _end(_wait(orders.list_releases(application, limit, _daemon(server, config), _printer(output))))


@app.command()
def status(
    release: ReleaseArgument,
    watch: WatchOption = False,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Show where a release stands."""
    from adapters.cli import orders

    _end(_wait(orders.status(release, _daemon(server, config), _printer(output), watch=watch)))


@app.command()
def history(
    release: ReleaseArgument,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Tell a release's whole story, from its journal."""
    from adapters.cli import orders

    _end(_wait(orders.history(release, _daemon(server, config), _printer(output))))


@app.command()
def folders(
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """List the files of the daemon's deploy folders, and what became of each."""
    from adapters.cli.deploy_folders import list_folders

    _end(_wait(list_folders(_daemon(server, config), _printer(output))))


# --- orders ------------------------------------------------------------------------------------------------------------


@app.command()
def approve(
    release: ReleaseArgument,
    target: TargetOption = None,
    expect_step: StepOption = None,
    reason: ReasonOption = "",
    gate: GateOption = None,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Answer a waiting rollout with yes: it goes on."""
    _order("approve", release, target, expect_step, reason, _daemon(server, config), output, gate)


@app.command()
def reject(
    release: ReleaseArgument,
    target: TargetOption = None,
    expect_step: StepOption = None,
    reason: ReasonOption = "",
    gate: GateOption = None,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Answer a waiting rollout with no: everything is put back."""
    _order("reject", release, target, expect_step, reason, _daemon(server, config), output, gate)


@app.command()
def pause(
    release: ReleaseArgument,
    target: TargetOption = None,
    expect_step: StepOption = None,
    reason: ReasonOption = "",
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Hold a rollout where it is."""
    _order("pause", release, target, expect_step, reason, _daemon(server, config), output)


@app.command()
def resume(
    release: ReleaseArgument,
    target: TargetOption = None,
    expect_step: StepOption = None,
    reason: ReasonOption = "",
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Let a held or parked rollout go on."""
    _order("resume", release, target, expect_step, reason, _daemon(server, config), output)


@app.command()
def skip(
    release: ReleaseArgument,
    target: TargetOption = None,
    expect_step: StepOption = None,
    reason: ReasonOption = "",
    gate: GateOption = None,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Let what is waited for count as passed: a pause, an analysis, a webhook, an approval that you may give."""
    _order("skip", release, target, expect_step, reason, _daemon(server, config), output, gate)


@app.command()
def promote(
    release: ReleaseArgument,
    target: TargetOption = None,
    expect_step: StepOption = None,
    reason: ReasonOption = "",
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Go to the end without pauses and without weights on the way. Approvals, analyses and webhooks hold all the same."""
    _order("promote", release, target, expect_step, reason, _daemon(server, config), output)


@app.command()
def abort(
    release: ReleaseArgument,
    target: TargetOption = None,
    expect_step: StepOption = None,
    reason: ReasonOption = "",
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Put everything back as it was."""
    _order("abort", release, target, expect_step, reason, _daemon(server, config), output)


@app.command()
def rollback(
    release: ReleaseArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also where somebody else has changed the live version since.")
    ] = False,
    watch: WaitOption = False,
    target: TargetsOption = None,
    reason: ReasonOption = "",
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Bring the version before a completed release back, by a release of its own: straight, without steps."""
    from adapters.cli import orders
    from adapters.http.bodies import RollbackBody

    body = RollbackBody(force, target or [], reason)
    _end(_wait(orders.roll_back(release, body, _daemon(server, config), _printer(output), watch=watch)))


# --- access ------------------------------------------------------------------------------------------------------------

token_app = typer.Typer(help="Tokens for the API over TCP.", no_args_is_help=True)
app.add_typer(token_app, name="token")


@token_app.command("new")
def token_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; it stands in the journal.", show_default=False)],
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE", help="A role that approvals may ask for; may be repeated."),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Make a token, and print it once with the lines for the daemon's settings. Nothing is written."""
    from adapters.cli.tokens import print_new_token

    _end(print_new_token(name, role or [], _printer(output)))


@app.command()
def retry(
    release: ReleaseArgument,
    watch: WatchOption = False,
    target: TargetsOption = None,
    reason: ReasonOption = "",
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Try a release again that did not succeed: the same revision, on the targets that it did not reach."""
    from adapters.cli import orders
    from adapters.http.bodies import RetryBody

    body = RetryBody(target or [], reason)
    _end(_wait(orders.retry(release, body, _daemon(server, config), _printer(output), watch=watch)))


# --- the store ---------------------------------------------------------------------------------------------------------


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The file to make; it must not be there.", show_default=False)],
    store: StoreOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Copy the store into one file, as it is at this moment. A daemon may go on writing meanwhile."""
    from adapters.cli.backups import make_backup

    _end(make_backup(_store(store, config), target, _printer(output)))


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `headgate backup` has made.", show_default=False)],
    store: StoreOption = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Put a backup in the store's place, while no daemon runs. The former store is kept beside it, under another name."""
    from adapters.cli.backups import restore_backup

    _end(restore_backup(source, _store(store, config), _printer(output)))


@app.command("move-store")
def move_store(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="The SQLite store.", show_default=False)],
    target: Annotated[
        str | None, typer.Argument(metavar="[TO]", help="An empty PostgreSQL database; without it, the settings' store.")
    ] = None,
    config: ConfigOption = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Move an SQLite store into a PostgreSQL database, while no daemon runs. Rollouts that are under way go on there."""
    from adapters.cli.moving import move_store as move
    from adapters.cli.surroundings import read_settings

    settings = read_settings(config)
    database = _read_store(target) if target is not None else settings.store
    _end(_wait(move(source.absolute(), database, settings, _printer(output))))


# --- the rest ----------------------------------------------------------------------------------------------------------


@app.command()
def demo(
    bad: Annotated[bool, typer.Option("--bad", help="Let the new version be a bad one, which is undone.")] = False,
) -> None:
    """Watch a canary on this machine: a small cluster, a real Envoy, live traffic. Takes less than a minute."""
    from adapters.cli.demo import run_demo
    from adapters.cli.logs import configure_logs
    from adapters.settings import LogFormat, LogLevel

    configure_logs(LogLevel.ERROR, LogFormat.TEXT)
    _end(_wait(run_demo(bad=bad)))


@app.command()
def version(output: OutputOption = OutputFormat.TEXT) -> None:
    """Print the version."""
    from importlib.metadata import version as version_of

    number = version_of("headgate")
    _printer(output).document({"version": number}, lambda: f"headgate {number}")


# --- what the commands share -------------------------------------------------------------------------------------------


def _order(
    kind: str,
    release: str,
    target: str | None,
    expect_step: int | None,
    reason: str,
    daemon: Daemon,
    output: OutputFormat,
    gate: str | None = None,
) -> None:
    from adapters.cli.orders import give_order
    from engine.events import CommandKind

    order = CommandKind(kind)
    _end(
        _wait(
            give_order(
                order, release, daemon, _printer(output), target=target, expected_step=expect_step, reason=reason, gate=gate
            )
        )
    )


def _store(named: str | None, config: Path | None) -> Path | StoreAddress:
    from adapters.cli.surroundings import read_settings

    return _read_store(named) if named is not None else read_settings(config).store


def _read_store(named: str) -> Path | StoreAddress:
    from adapters.cli.stores import read_store_option

    return read_store_option(named)


def _printer(output: OutputFormat) -> Printer:
    return Printer(output, sys.stdout, sys.stderr)


def _choices(targets: list[str] | None, application: str | None, context: list[str] | None) -> Choices:
    from adapters.cli.files import Choices, read_context

    return Choices(application, read_context(context or []), tuple(targets or ()))


def _daemon(server: str | None, config: Path | None) -> Daemon:
    from adapters.cli.surroundings import find_daemon

    return find_daemon(server, config, os.environ)


def _connect(context: typer.Context) -> Connect:
    """A daemon is patient with clusters that cannot be reached yet; whoever stands before the terminal is not."""
    outside = context.obj
    assert isinstance(outside, Outside)
    if outside.connect is not None:
        return outside.connect
    from adapters.cli.connecting import connect

    return connect


def _connect_as(context: typer.Context) -> ConnectAs:
    """The patient one, for a daemon that may have to ask whether it leads."""
    outside = context.obj
    assert isinstance(outside, Outside)
    if (given := outside.connect) is not None:
        return lambda _: given
    from functools import partial

    from adapters.cli.connecting import connect

    return lambda leadership: partial(connect, patient=True, leadership=leadership)


def _wait(work: Coroutine[Any, Any, ExitCode]) -> ExitCode:
    import asyncio

    from adapters.cli.errors import Interrupted

    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; what a daemon was given goes on there") from None


def _end(code: ExitCode) -> None:
    raise typer.Exit(code)


def _asked_format(arguments: Sequence[str]) -> OutputFormat:
    """The output format, read before the command line is understood: its errors are printed in it too."""
    for argument, following in pairwise((*arguments, "")):
        name, _, value = argument.partition("=")
        if name in ("-o", "--output"):
            value = value or following
        elif argument.startswith("-o"):
            value = argument[2:]
        else:
            continue
        if value in list(OutputFormat):
            return OutputFormat(value)
    return OutputFormat.TEXT


def main(arguments: Sequence[str] | None = None, *, connect: Connect | None = None) -> int:
    """Run one command; returns its exit code. `connect` takes the place of the real clusters."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    printer = Printer(_asked_format(given), sys.stdout, sys.stderr)
    try:
        return int(app(given, prog_name="headgate", standalone_mode=False, obj=Outside(connect)) or 0)
    except Exception as error:
        from adapters.cli.failures import report

        return report(error, printer)


if __name__ == "__main__":
    sys.exit(main())
