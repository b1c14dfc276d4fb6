"""Tells a GitHub workflow what became of a deployment, under the names of CD-as-a-Service's action."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapters.http.bodies import ReleaseBody


def write_outputs(release: ReleaseBody, environment: Mapping[str, str]) -> None:
    """Append DEPLOYMENT_ID, LINK and RUN_RESULT to the file that GITHUB_OUTPUT names; nothing anywhere else."""
    named = environment.get("GITHUB_OUTPUT")
    if named:
        lines = (f"DEPLOYMENT_ID={release.id}", f"LINK={release.link}", f"RUN_RESULT={release.status}")
        with Path(named).open("a", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
