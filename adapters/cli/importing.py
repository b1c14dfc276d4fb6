"""`import`: a Canary of Flagger or a Rollout of Argo -> a deploy file, and the list of what it cannot say. Reads and
writes files; asks no daemon and no cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.cli.options import OutputOption
from adapters.cli.output import Document, OutputFormat, Printer
from strategies.importing.origins import Origin

if TYPE_CHECKING:
    from strategies.importing.importing import Imported, ImportOptions
    from strategies.importing.remarks import Remark

STANDARD_INPUT = "<stdin>"
MOST_BYTES = 4 << 20


def import_command(
    origin: Annotated[Origin, typer.Argument(metavar="ORIGIN", help="flagger or argo.", show_default=False)],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The Canary or the Rollout, with the objects that belong to it; - reads standard input.",
            show_default=False,
        ),
    ],
    account: Annotated[str | None, typer.Option("--account", metavar="NAME", help="The cluster account of the target.")] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="Instead of the object's namespace.")
    ] = None,
    application: Annotated[
        str | None, typer.Option("--application", "-n", metavar="NAME", help="Instead of the object's name.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Which Canary or Rollout, when the file holds several.")
    ] = None,
    manifests: Annotated[
        str | None,
        typer.Option(
            "--manifests",
            metavar="PATH",
            help="Where your manifests are, as the deploy file is to name them; those in FILE then stay out of it.",
        ),
    ] = None,
    manifests_out: Annotated[
        Path | None,
        typer.Option("--manifests-out", metavar="DIR", help="Write the manifests here, instead of into the deploy file."),
    ] = None,
    output_file: Annotated[
        Path | None,
        typer.Option("--output-file", metavar="PATH", help="Write the deploy file here. A file that is there is left alone."),
    ] = None,
    output: OutputOption = OutputFormat.TEXT,
) -> None:
    """Make a deploy file of a Flagger Canary or an Argo Rollout, and list what cannot be carried over."""
    from strategies.importing.importing import ImportOptions

    options = ImportOptions(
        account=account,
        namespace=namespace,
        application=application,
        manifests=manifests,
        folder=_folder(manifests_out, output_file),
        name=name,
    )
    printer = Printer(output, sys.stdout, sys.stderr)
    _import(origin, file, options, manifests_out, output_file, printer)


def _folder(manifests_out: Path | None, output_file: Path | None) -> str | None:
    """The folder as the deploy file names it: seen from where that is written, or from here."""
    if manifests_out is None:
        return None
    return os.path.relpath(manifests_out, output_file.parent if output_file is not None else Path())


def _import(
    origin: Origin,
    file: Path,
    options: ImportOptions,
    manifests_out: Path | None,
    output_file: Path | None,
    printer: Printer,
) -> None:
    from adapters.cli.errors import InputInvalid
    from strategies.importing.importing import Imported, import_text

    path, content = _read(file)
    made = import_text(origin, content, path, options)
    if not isinstance(made, Imported):
        raise InputInvalid(f"{path} cannot be imported; nothing was written", made)
    written = {manifests_out / name: text for name, text in made.manifests.items()} if manifests_out is not None else {}
    if output_file is not None:
        written[output_file] = made.deploy_file
    _write(written)
    document = _document(path, made, output_file, manifests_out)
    if printer.is_text:
        for remark in made.remarks:
            printer.warn(str(remark))
    if printer.is_text and output_file is not None:
        for place in written:
            printer.warn(f"wrote {place}")
        return
    printer.document(document, lambda: made.deploy_file)


def _read(file: Path) -> tuple[str, bytes]:
    from adapters.cli.errors import InputInvalid

    if str(file) == "-":
        return STANDARD_INPUT, sys.stdin.buffer.read(MOST_BYTES + 1)
    try:
        with file.open("rb") as opened:
            return str(file), opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputInvalid(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _write(files: dict[Path, str]) -> None:
    """All of them or, where one is there already, none."""
    from adapters.cli.errors import InputInvalid

    for path in files:
        if os.path.lexists(path):
            raise InputInvalid(f"{path} is there already; nothing was written. Remove it, or name another file")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as opened:
                opened.write(text)
    except OSError as error:
        raise InputInvalid(f"{error.filename} cannot be written: {(error.strerror or str(error)).lower()}") from error


def _document(path: str, made: Imported, output_file: Path | None, manifests_out: Path | None) -> Document:
    folder = manifests_out if manifests_out is not None else Path()
    return {
        "file": path,
        "kind": made.kind,
        "name": made.name,
        "deployFile": made.deploy_file,
        "writtenTo": str(output_file) if output_file is not None else None,
        "manifests": {str(folder / name): text for name, text in made.manifests.items()},
        "remarks": [_remark(remark) for remark in made.remarks],
    }


def _remark(remark: Remark) -> Document:
    return {
        "path": remark.path,
        "line": remark.line,
        "column": remark.column,
        "kind": str(remark.kind),
        "field": remark.field,
        "meaning": remark.meaning,
        "instead": remark.instead,
    }
