"""Wrong usage: what was wrong, what was probably meant, and exit code 2, in every format."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapters.cli import failures, main
from adapters.cli.exit_codes import ExitCode
from adapters.cli.output import OutputFormat, Printer, printable, table
from adapters.cli.surroundings import read_place
from adapters.http.client import SocketPlace, TcpPlace
from engine.errors import HeadgateError, StoreError
from tests.cli.terminal import headgate


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["aprove", "x"], "No such command 'aprove'. Did you mean 'approve', 'promote'?"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["validate"], "headgate validate: Missing argument 'FILE'"),
        (["validate", "a", "b"], "unexpected extra argument"),
        (["status"], "Missing argument 'ID'"),
        (["list", "--limit", "many"], "Invalid value for '--limit'"),
        (["list", "--limti", "3"], "No such option: --limti"),
        (["approve", "x", "--expect-step", "-1"], "Invalid value for '--expect-step'"),
        (["list", "-o", "xml"], "Invalid value for '--output' / '-o'"),
        (["run", "x", "--cluster", "real"], "Invalid value for '--cluster'"),
        (["abort", ""], "Invalid value for 'ID': is empty; is a variable of the script unset?"),
        (["--nothing"], "No such option: --nothing"),
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], sentence: str) -> None:
    said = headgate(*arguments)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert said.err.splitlines()[-1].startswith("See: headgate")


@pytest.mark.parametrize("form", [["-o", "json"], ["--output", "json"], ["--output=json"], ["-ojson"]])
def test_wrong_usage_is_explained_in_the_format_that_was_asked_for(form: list[str]) -> None:
    said = headgate("approve", *form)
    assert said.err == ""
    assert (said.code, said.json["error"]["code"], said.json["error"]["exitCode"]) == (2, "usage", 2)


def test_without_a_command_the_commands_are_shown() -> None:
    said = headgate()
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: headgate")
    for command in ("validate", "run", "deploy", "approve", "demo"):
        assert f"  {command} " in said.err


def test_help_is_no_failure() -> None:
    for arguments in (["--help"], ["-h"], ["run", "--help"]):
        said = headgate(*arguments)
        assert (said.code, said.err) == (0, "")
        assert said.out.startswith("Usage: headgate")
    assert "130 interrupted" in headgate("--help").out.replace("\n  ", " ")


def test_places_of_daemons() -> None:
    assert read_place("unix:/run/x.sock", {}) == SocketPlace(Path("/run/x.sock"))
    assert read_place("/run/x.sock", {}) == SocketPlace(Path("/run/x.sock"))
    assert read_place("https://x/", {"HEADGATE_TOKEN": " t\n"}) == TcpPlace("https://x", "t")


@pytest.mark.parametrize(
    ("server", "token", "sentence"),
    [
        ("x:80", "t", "expected unix:/path/of/the/socket, or http(s)://host:port"),
        ("http://x", "", "wants a token; put it into the variable HEADGATE_TOKEN"),
        ("http://x", "a\nb", "holds a character that no header can carry"),
    ],
)
def test_places_that_are_none(monkeypatch: pytest.MonkeyPatch, server: str, token: str, sentence: str) -> None:
    monkeypatch.setenv("HEADGATE_TOKEN", token)
    said = headgate("list", "--server", server)
    assert said.code == 2
    assert sentence in said.err


def test_no_daemon_is_exit_code_4_with_how_to_start_one(tmp_path: Path) -> None:
    said = headgate("list")
    assert said.code == 4
    assert f"no daemon answers on {tmp_path}/headgate.sock (no such file or directory)" in said.err
    assert "start one with: headgate serve" in said.err
    assert headgate("list", "-o", "yaml").yaml["error"]["exitCode"] == 4


def test_settings_with_errors_name_every_place(tmp_path: Path) -> None:
    settings = tmp_path / "bad.yaml"
    settings.write_text("sokcet: x\nlog: {level: loud}\n")
    said = headgate("list", "--config", settings)
    assert said.code == 2
    assert said.err.splitlines() == [
        f'{settings}:1:1: unknown field "sokcet" in the settings file; did you mean "socket"?',
        f'{settings}:2:14: log.level is the text "loud"; expected debug, info, warning or error',
    ]
    assert len(headgate("list", "--config", settings, "-o", "json").json["error"]["problems"]) == 2


def test_an_error_of_our_own_is_none_of_the_codes_that_mean_something(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(main, "_daemon", fail)
    said = headgate("list", "-o", "json")
    assert said.code == 70
    assert "Traceback" in said.err
    assert said.json["error"]["message"] == "this is an error in Headgate itself: ZeroDivisionError: a defect"


def test_what_is_wrapped_in_groups_is_explained_by_what_is_in_the_middle() -> None:
    wrapped = ExceptionGroup("outer", [ExceptionGroup("inner", [StoreError("the disk is full")])])
    explanation = failures.explain(wrapped)
    assert (explanation.exit_code, explanation.message) == (ExitCode.UNREACHABLE, "the disk is full")


def test_every_error_of_ours_has_an_exit_code_and_a_sentence() -> None:
    def kinds(error: type[HeadgateError]) -> list[type[HeadgateError]]:
        return [error, *(deeper for kind in error.__subclasses__() for deeper in kinds(kind))]

    for kind in kinds(HeadgateError):
        if kind.__init__ is Exception.__init__:
            assert failures.explain(kind("a sentence")).message == "a sentence"


def test_text_from_elsewhere_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\r\nc\u202e") == "a\ufffd[2Jb\ufffd\ufffd\nc\ufffd"
    assert table([("a", "b\nc"), ("long", "d")]) == "a     b c\nlong  d"


def test_a_printer_keeps_progress_out_of_documents(capsys: pytest.CaptureFixture[str]) -> None:
    Printer(OutputFormat.JSON, sys.stdout, sys.stderr).say("going on")
    Printer(OutputFormat.TEXT, sys.stdout, sys.stderr).say("going on")
    assert capsys.readouterr() == ("going on\n", "going on\n")
