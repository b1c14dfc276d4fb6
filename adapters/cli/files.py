"""`validate` and `schema`, and reading a deploy file for the commands that carry it out. Asks no daemon and no cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.cli.errors import InputInvalid
from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import Document, Printer, counted, printable
from engine.model import ReleasePlan
from strategies.deployfile import (
    LoadedFile,
    Notice,
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
    loaded = load_deploy_file(path)
    if loaded.problems.refused:
        raise _refused(str(path), loaded.problems.errors, "is not valid")
    return loaded


def compile_plan(loaded: LoadedFile, choices: Choices) -> ReleasePlan:
    """Raises `InputInvalid`, also for what is understood but cannot be carried out yet."""
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
    loaded = load_deploy_file(path)
    problems = loaded.problems
    plan = None if problems.refused else compile_release(loaded)
    blocked = any(notice.blocks_run for notice in problems.notices)
    if problems.refused and printer.is_text:
        _warn(loaded, printer)
        raise _refused(str(path), problems.errors, "is not valid")
    document: Document = {
        "file": str(path),
        "valid": not problems.refused,
        "runnable": isinstance(plan, ReleasePlan),
        "errors": [_place(problem) for problem in problems.errors],
        "warnings": [_place(problem) for problem in problems.warnings],
        "notices": [_place(notice) | {"blocksRun": notice.blocks_run} for notice in problems.notices],
    }
    if printer.is_text:
        _warn(loaded, printer)
        for warning in _further_warnings(loaded, plan):
            printer.warn(f"{path}: warning: {warning}")
    printer.document(document, lambda: _summary(loaded, blocked))
    return ExitCode.BAD_INPUT if problems.refused else ExitCode.SUCCESS


def _warn(loaded: LoadedFile, printer: Printer) -> None:
    for kind, found in (("warning", loaded.problems.warnings), ("notice", loaded.problems.notices)):
        for one in found:
            printer.warn(f"{one.path}:{one.line}:{one.column}: {kind}: {one.message}")


def _further_warnings(loaded: LoadedFile, plan: ReleasePlan | Problems | None) -> Iterator[str]:
    """What only shows when the file is compiled: variables without a value, dependencies that are left out."""
    if isinstance(plan, ReleasePlan):
        said = {str(one) for one in (*loaded.problems.warnings, *loaded.problems.notices)}
        yield from (warning for warning in plan.warnings if warning not in said)


def _place(found: Problem | Notice) -> Document:
    return {"path": found.path, "line": found.line, "column": found.column, "message": found.message}


def _summary(loaded: LoadedFile, blocked: bool) -> str:
    document = loaded.document
    targets = counted(len(document.targets), "target") if document is not None else ""
    objects = counted(len(loaded.objects), "object")
    if blocked:
        return printable(f"{loaded.name} is valid: {targets}, {objects}. It cannot be run yet; the notices say why.")
    return printable(f"{loaded.name} is valid: {targets}, {objects}.")


def print_schema(printer: Printer) -> ExitCode:
    """The JSON Schema of deploy files. In text it is JSON too: that is the form in which editors want it."""
    schema = dump_schema()
    printer.document(schema, lambda: json.dumps(schema, indent=2, ensure_ascii=False))
    return ExitCode.SUCCESS


