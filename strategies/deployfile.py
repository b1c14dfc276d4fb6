"""Deploy files: the door to this package's reading half. Everything that the command line and the daemon use is here.

    loaded = load_deploy_file("deploy.yaml")            # reads the file and its manifests; never raises for their content
    loaded.problems.errors / .warnings / .notices       # printed as path:line:column: message
    plan = compile_release(loaded, application=..., context={...}, target_filters=(...,))
    # a ReleasePlan, or Problems when there are errors or notices that block a run

A daemon that receives a bundle (`loaded.text` and `loaded.sources` as the command line sent them) reads it with

    parse_deploy_text(text, name, read_from_bundle(sources))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.model import ReleasePlan
from strategies.problems import Notice, Problem, Problems


@dataclass(frozen=True, slots=True)
class SourceText:
    """One manifest file: the name that messages use, and what it holds."""

    name: str
    text: str


ManifestReader = Callable[[str], Sequence[SourceText]]
"""From a `manifests[].path` to the files behind it, in order. Raises `Unreadable`."""


@dataclass(frozen=True, slots=True)
class LoadedFile:
    name: str
    text: str
    """The deploy file as it was read."""
    sources: Mapping[str, tuple[SourceText, ...]]
    """The manifest files by the `path` that asked for them: together with `text` a bundle that can be sent elsewhere."""
    document: Any | None
    """strategies.deployfile_models.DeployFile, or None when the file does not fit the schema."""
    problems: Problems


def load_deploy_file(path: str | Path, *, base: Path | None = None) -> LoadedFile: ...  # type: ignore[empty-body]


def parse_deploy_text(text: str | bytes, name: str, read: ManifestReader) -> LoadedFile: ...  # type: ignore[empty-body]


def read_from_bundle(sources: Mapping[str, Sequence[SourceText]]) -> ManifestReader: ...  # type: ignore[empty-body]


def compile_release(  # type: ignore[empty-body]
    loaded: LoadedFile,
    *,
    application: str | None = None,
    context: Mapping[str, str] | None = None,
    target_filters: Sequence[str] = (),
) -> ReleasePlan | Problems: ...


def dump_schema() -> dict[str, Any]: ...  # type: ignore[empty-body]


__all__ = [
    "LoadedFile",
    "ManifestReader",
    "Notice",
    "Problem",
    "Problems",
    "SourceText",
    "compile_release",
    "dump_schema",
    "load_deploy_file",
    "parse_deploy_text",
    "read_from_bundle",
]
