"""`validate` and `schema`, and reading a deploy file for the commands that carry it out. Asks no daemon and no
cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.cli.addresses import fetch
from adapters.cli.errors import InputInvalid
from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import Document, Printer, counted, printable
from engine.model import ReleasePlan
from strategies.deployfile import (
    LoadedFile,
    Problem,
    Problems,
    compile_release,
    dump_schema,
    load_deploy_file,
)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line says beside the file, and what wins over it."""

    application: str | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    targets: Sequence[str] = ()


def read_context(pairs: Sequence[str]) -> dict[str, str]:
    """`key=value` each, as given to --context. Raises `InputInvalid`."""
    context: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InputInvalid(f"--context {pair}: expected key=value, such as --context region=eu")
        context[key.strip()] = value
    return context


def load(path: Path) -> LoadedFile:
    """The file and its manifests. Raises `InputInvalid` with everything that is wrong."""
    loaded = load_deploy_file(path, fetch=fetch)
    if loaded.problems.refused:
        raise _refused(str(path), loaded.problems.errors, "is not valid")
    return loaded


def compile_plan(loaded: LoadedFile, choices: Choices) -> ReleasePlan:
    """Raises `InputInvalid`, also for variables to which nobody gives a value."""
    plan = compile_release(
        loaded,
        application=choices.application,
        context=choices.context,
        target_filters=choices.targets,
    )
    if isinstance(plan, Problems):
        raise _refused(loaded.name, plan.errors, "cannot be run")
    return plan


def _refused(name: str, errors: Sequence[Problem], what: str) -> InputInvalid:
    return InputInvalid(f"{name} {what}: {counted(len(errors), 'error')}; nothing was started", errors)


def validate(path: Path, printer: Printer) -> ExitCode:
    """Valid is what fits together; whether it can be run as it stands is said beside it."""
    loaded = load_deploy_file(path, fetch=fetch)
    problems = loaded.problems
    plan = compile_release(loaded)
    obstacles = tuple(plan.errors) if isinstance(plan, Problems) and not problems.refused else ()
    if printer.is_text:
        _print_remarks(loaded, obstacles, printer)
    if printer.is_text and problems.refused:
        raise _refused(str(path), problems.errors, "is not valid")
    document: Document = {
        "file": str(path),
        "valid": not problems.refused,
        "runnable": isinstance(plan, ReleasePlan),
        "errors": list(map(_place, problems.errors)),
        "obstacles": list(map(_place, obstacles)),
        "warnings": list(map(_place, problems.warnings)),
    }
    printer.document(document, lambda: _summary(loaded, bool(obstacles)))
    return ExitCode.BAD_INPUT if problems.refused else ExitCode.SUCCESS


def _print_remarks(loaded: LoadedFile, obstacles: Sequence[Problem], printer: Printer) -> None:
    """Obstacles are what keeps a valid file from being run as it stands: a variable that only a command line can give."""
    for kind, found in (("warning", loaded.problems.warnings), ("obstacle", obstacles)):
        for one in found:
            printer.warn(f"{one.path}:{one.line}:{one.column}: {kind}: {one.message}")


def _place(found: Problem) -> Document:
    return {"path": found.path, "line": found.line, "column": found.column, "message": found.message}


def _summary(loaded: LoadedFile, is_hindered: bool) -> str:
    targets = counted(len(loaded.document.targets), "target") if loaded.document is not None else ""
    text = f"{loaded.name} is valid: {targets}, {counted(len(loaded.objects), 'object')}."
    return printable(text + (" It cannot be run as it stands; the obstacles say why." if is_hindered else ""))


def print_schema(printer: Printer) -> ExitCode:
    """The JSON Schema of deploy files. In text it is JSON too: that is the form in which editors want it."""
    schema = dump_schema()
    printer.document(schema, lambda: json.dumps(schema, indent=2, ensure_ascii=False))
    return ExitCode.SUCCESS
