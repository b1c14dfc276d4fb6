"""Writes `docs/cli.md` from the commands: `python -m adapters.cli.documentation`. A test keeps it current."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from adapters.cli.exit_codes import MEANINGS
from adapters.cli.main import app

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"

_INTRODUCTION = """\
# The command line

Generated from the commands by `python -m adapters.cli.documentation`; a test keeps it current.

`validate`, `plan`, `schema`, `import`, `token new`, `backup`, `restore` and `move-store` ask nobody. `run` carries a deploy
file out by itself. `deploy`, `list`, `status`, `history`, `folders`, the orders and `rollback` speak to a daemon (`serve`),
over its Unix socket or, with a token, over TCP ([access.md](access.md)).

## Output

All commands that print data take `-o text|json|yaml`. In JSON and YAML, standard output holds exactly one document,
also when the command fails (`{"error": {"code", "message", "exitCode", "problems"}}`); progress and warnings go to
standard error. In text, problems go to standard error as `path:line:column: what is wrong`.

`run`, `deploy --watch` and `status --watch` draw their progress in place on a terminal, and write timestamped lines
anywhere else. A watch outlives its connection: it goes on when the daemon answers again, and tells what happened in
between.

## Exit codes

They mean the same in every format.

"""

_NAMES = """
## Which release is meant

Wherever an ID is asked for, its beginning is enough if it is unique, and the name of an application stands for its
newest release. Steps are counted from 1. With `--expect-step N` an order is refused when the rollout is at another
step by now, so that a late answer never applies to something else; the commands that `status` suggests carry it.

## Taking a release back

`abort` puts back what is still under way. `rollback ID` brings back what ran before a release that was completed, by a new
release without steps: it is watched, aborted and, if need be, taken back as any other. The live number of replicas stays.
Objects that the release made, and that were not there before, stay and are named. It is refused (exit code 3) when a later
release changed the same workload, and when there was no version before. When somebody else has changed the live version
since, the new release ends as REJECTED before anything is touched; `--force` takes what runs there back all the same.

## Coming from Argo Rollouts or Flagger

`import argo FILE` and `import flagger FILE` make a deploy file of a Rollout or a Canary, which always passes `validate` once
its placeholders are filled in. Put what belongs to it into the same file: the Deployment, Services, autoscalers, and the
templates of its analyses. The deploy file goes to standard output, or to `--output-file`; the objects that it ships are in
it, or in `--manifests-out`. What is not the same any more is a line on standard error (in JSON and YAML, one of `remarks`),
with its place in the input, the field, what it meant, and what to do:

| kind | meaning |
|---|---|
| `fill in` | the input does not hold it: the account, an address that is reached from outside, a metric provider |
| `lost` | it is not carried over; no field is left out without such a line |
| `changed` | it is carried over and means something else, such as failures that an analysis forgave |
| `note` | worth knowing before the first run, such as what the old controller leaves behind |

Where an analysis has nothing left that can be measured, an approval takes its place, so that a person looks. Comments of the
input are not kept.

## Completion

`headgate --install-completion` sets completion up for the shell that it is called from (bash, zsh or fish);
`--show-completion` prints the script instead, and `_HEADGATE_COMPLETE=source_bash headgate` (or `source_zsh`, `source_fish`)
does from anywhere. It completes commands, options and choices, the targets of the deploy file that is named, and, if a daemon
answers within a second, its releases, applications and their targets. Orders are offered unfinished releases only, `rollback`
those that succeeded, and `retry` those that did not. Names that a shell could read as something else are not offered.

## Interrupts

Ctrl-C in `deploy --watch`, `rollback --watch` and `status --watch` only ends the watching. In `run`, what the first
one does depends on the store: without `--store` nobody could take the rollout up again, so everything is put back as it
was before the command ends; with `--store` the rollout stays where it is, and `headgate serve --store PATH` carries on.
A second Ctrl-C ends at once; a temporary store is then kept, and its path is said. SIGTERM and SIGHUP count as a first
Ctrl-C.

## GitHub Actions

Where `GITHUB_OUTPUT` is set, `run`, `deploy` and `rollback` append `DEPLOYMENT_ID`, `LINK` and `RUN_RESULT`.

## Environment

| variable | meaning |
|---|---|
| `HEADGATE_CONFIG` | the settings file, as `--config` |
| `HEADGATE_SERVER` | the daemon, as `--server` |
| `HEADGATE_TOKEN` | the token for a daemon behind `http(s)://`; not an option, because everybody can see those |
| `HEADGATE_CA_FILE` | for `https://`: whose certificates are believed; without it, those that the system believes |
| `HEADGATE_CLIENT_CERTIFICATE`, `HEADGATE_CLIENT_KEY` | the client certificate and its key, or both in the first file |
| `NO_COLOR` | no colours |

"""


def render() -> str:
    command = typer.main.get_command(app)
    lines = [_INTRODUCTION.rstrip("\n"), "", "| code | meaning |", "|---|---|"]
    lines.extend(f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS)
    lines.append(_NAMES.rstrip("\n"))
    lines.extend(["", "## Commands"])
    for name, one in _commands("", command):
        lines.extend(_command_lines(name, one))
    return "\n".join(lines) + "\n"


def _commands(prefix: str, group: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  as below
    """Every command with its whole name, those of groups too."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from _commands(f"{prefix}{name} ", one)
        else:
            yield prefix + name, one


def _command_lines(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401  typer keeps its command types to itself
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and "--help" not in one.opts]
    usage = " ".join(["headgate", name, *(one.metavar or one.name.upper() for one in arguments)])
    yield ""
    yield f"### `{usage}{' [options]' if options else ''}`"
    yield ""
    yield inspect.cleandoc(command.help or "")
    if arguments or options:
        yield ""
        yield "| option | meaning |"
        yield "|---|---|"
    for one in arguments:
        yield f"| `{one.metavar}` | {one.help} |"
    for one in options:
        names = ", ".join(f"`{opt}`" for opt in sorted(one.opts, key=len))
        value = "" if one.is_flag else f" {one.metavar}"
        default = f" Default: {one.default}." if _has_default(one) else ""
        yield f"| {names}{value} | {one.help}{default} |"


def _has_default(option: Any) -> bool:  # noqa: ANN401  typer keeps its parameter types to itself
    return not option.is_flag and option.default not in (None, "", [])


def main() -> None:
    PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")


if __name__ == "__main__":
    main()
