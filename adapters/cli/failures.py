"""From any failure to what a person reads and what a script gets: a sentence, places, and an exit code."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass

import typer

from adapters.cli.errors import sole_error
from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import Document, OutputFormat, Printer, ReaderGone, printable
from engine.errors import (
    BackupRefused,
    ClusterUnreachable,
    CommandRefused,
    Conflict,
    Deposed,
    HeadgateError,
    MoveRefused,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreHindered,
    StoreTooNew,
)


@dataclass(frozen=True, slots=True)
class Explanation:
    exit_code: ExitCode
    code: str
    """A word for scripts."""
    message: str
    problems: tuple[Document, ...] = ()
    advice: str = ""
    release: str = ""


def report(error: BaseException, printer: Printer) -> ExitCode:
    """Say what went wrong, and give the exit code."""
    error = sole_error(error)
    if isinstance(error, ReaderGone):
        # What is left in the buffer must not fail once more when the interpreter flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), printer.out.fileno())
        return ExitCode.BROKEN_PIPE
    explanation = explain(error)
    if explanation.exit_code is ExitCode.DEFECT:
        printer.err.write("".join(traceback.format_exception(error)))
    if printer.format is OutputFormat.TEXT:
        _print_text(explanation, printer)
    else:
        printer.document(_document(explanation), lambda: "")
    return explanation.exit_code


def _print_text(explanation: Explanation, printer: Printer) -> None:
    lines = [f"{one['path']}:{one['line']}:{one['column']}: {one['message']}" for one in explanation.problems]
    if explanation.message:
        lines.append(explanation.message)
    if explanation.advice:
        lines.append(explanation.advice)
    printer.err.write(printable("\n".join(lines)) + "\n")


def _document(explanation: Explanation) -> Document:
    body: Document = {"code": explanation.code, "message": explanation.message, "exitCode": int(explanation.exit_code)}
    if explanation.problems:
        body["problems"] = list(explanation.problems)
    if explanation.release:
        body["release"] = explanation.release
    return {"error": body}


def explain(error: BaseException) -> Explanation:
    error = sole_error(error)
    match error:
        case typer.TyperException():
            return _explain_usage(error)
        case HeadgateError():
            return _explain_ours(error)
        case _:
            message = f"this is an error in Headgate itself: {type(error).__name__}: {error}"
            return Explanation(ExitCode.DEFECT, "defect", message)


def _explain_usage(error: typer.TyperException) -> Explanation:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "headgate"
    message = error.format_message().rstrip(".")
    if message.startswith("Usage:"):  # Nothing was asked for, so here is what could be.
        return Explanation(ExitCode.BAD_INPUT, "usage", message)
    return Explanation(ExitCode.BAD_INPUT, "usage", f"{command}: {message}", advice=f"See: {command} --help")


def _explain_ours(error: HeadgateError) -> Explanation:
    from adapters.cli.errors import InputInvalid, Interrupted
    from adapters.http.client_errors import DaemonRefused, DaemonUnreachable
    from adapters.settings_reader import SettingsInvalid

    message = str(error)
    match error:
        case DaemonRefused():
            return _explain_refusal(error)
        case DaemonUnreachable() | ClusterUnreachable():
            return Explanation(ExitCode.UNREACHABLE, "unreachable", message)
        case SettingsInvalid(problems=problems):
            return Explanation(ExitCode.BAD_INPUT, "settings", "", tuple(map(_problem, problems)))
        case InputInvalid(problems=problems):
            return Explanation(ExitCode.BAD_INPUT, "invalid", message, tuple(map(_problem, problems)))
        case Interrupted():
            return Explanation(ExitCode.INTERRUPTED, "interrupted", message)
        case Conflict():
            return Explanation(ExitCode.CONFLICT, "conflict", message)
        case CommandRefused():
            return Explanation(ExitCode.CONFLICT, "refused", message)
        case StoreBusy() | StoreTooNew() | StoreDamaged() | StoreHindered() | BackupRefused() | MoveRefused():
            return Explanation(ExitCode.BAD_INPUT, "store", message)
        case Deposed():
            return Explanation(ExitCode.DEPOSED, "deposed", message)
        case StoreError():
            return Explanation(ExitCode.UNREACHABLE, "store", message)
        case _:
            return Explanation(ExitCode.BAD_INPUT, "invalid", message)


def _problem(problem: object) -> Document:
    return {name: getattr(problem, name) for name in ("path", "line", "column", "message")}


def _explain_refusal(error: HeadgateError) -> Explanation:
    from adapters.http.bodies import ErrorCode
    from adapters.http.client_errors import DaemonRefused

    assert isinstance(error, DaemonRefused)
    body = error.body
    match body.code:
        case ErrorCode.CONFLICT | ErrorCode.REFUSED:
            exit_code = ExitCode.CONFLICT
        case ErrorCode.UNAVAILABLE | ErrorCode.INTERNAL | ErrorCode.TIMEOUT:
            exit_code = ExitCode.UNREACHABLE
        case _:
            exit_code = ExitCode.BAD_INPUT
    problems = tuple(map(_problem, body.problems))
    return Explanation(exit_code, str(body.code), body.message, problems, release=body.release)
