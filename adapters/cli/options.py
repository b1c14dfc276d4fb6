"""The arguments and options that several commands share. Light to import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adapters.cli.completing import offer_releases, offer_targets
from adapters.cli.output import OutputFormat


class ClusterKind(StrEnum):
    EMBEDDED = "embedded"
    EMBEDDED_LINKERD = "embedded-linkerd"


FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The deploy file.", show_default=False)]
def _require_name(value: str) -> str:
    """A script whose variable is unset says nothing; that must not mean anything."""
    if not value.strip():
        raise typer.BadParameter("is empty; is a variable of the script unset?")
    return value


ReleaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A release's id, the beginning of it, or an application for its newest release.",
        callback=_require_name,
        autocompletion=offer_releases,
    ),
]
OutputOption = Annotated[
    OutputFormat, typer.Option("--output", "-o", metavar="FORMAT", help="text, json or yaml.", show_default="text")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="PATH", help="The settings file. [env: HEADGATE_CONFIG]"),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        "-s",
        metavar="PLACE",
        help="The daemon: unix:/path, or http(s)://host:port with a token in HEADGATE_TOKEN (certificates: docs/access.md). "
        "Without it, the settings' socket. [env: HEADGATE_SERVER]",
    ),
]
TargetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target", "-t", metavar="NAME", help="Only this target; may be repeated.", autocompletion=offer_targets
    ),
]
ApplicationOption = Annotated[
    str | None, typer.Option("--application", "-n", metavar="NAME", help="Instead of the file's application.")
]
ContextOption = Annotated[
    list[str] | None,
    typer.Option("--context", metavar="KEY=VALUE", help="A variable of templates, over the file's; may be repeated."),
]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Stay until the release has ended.")]
WaitOption = Annotated[
    bool, typer.Option("--watch", "--wait", "-w", help="Stay until the version before is back.")
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="Only this target; without it, every one that can.",
        autocompletion=offer_targets,
    ),
]
StepOption = Annotated[
    int | None,
    typer.Option("--expect-step", metavar="N", min=0, help="Refuse the order when the rollout is at another step."),
]
GateOption = Annotated[
    str | None,
    typer.Option("--gate", metavar="ID", help="Only this one of several conditions, as status names it; e.g. step:2.1."),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the journal.")]
