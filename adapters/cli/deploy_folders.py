"""`folders`: what lies in the daemon's deploy folders, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import Printer, plain, printable, table
from adapters.cli.surroundings import Daemon
from adapters.http.bodies import FolderBody, FolderList
from adapters.http.client import DaemonClient


async def list_folders(daemon: Daemon, printer: Printer) -> ExitCode:
    async with DaemonClient(daemon.place) as client:
        found = await client.folders()
    printer.document(plain(found), lambda: describe_folders(found))
    return ExitCode.SUCCESS


def describe_folders(found: FolderList) -> str:
    if not found.folders:
        return "The daemon watches no folders. Name some as deployFolders in its settings, and send it a SIGHUP."
    return "\n\n".join("\n".join(_lines(folder)) for folder in found.folders)


def _lines(folder: FolderBody) -> Iterator[str]:
    yield printable(folder.path)
    if folder.problem:
        yield printable(f"  {folder.problem}")
    elif not folder.files:
        yield "  no deploy files"
    if folder.files:
        rows = [("FILE", "STATE", "RELEASE", "")]
        rows.extend((one.name, one.state, one.release or "-", one.message) for one in folder.files)
        yield table(rows, indent="  ")
    for file in folder.files:
        for problem in file.problems:
            yield printable(f"  {problem.path}:{problem.line}:{problem.column}: {problem.message}")
