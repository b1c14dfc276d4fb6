"""Deploy folders on disk: which files count, what of them can change, and what one of them holds.

Blocking, so it is called beside the loop. Knows no release and no state.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import TypeAlias

import msgspec

from adapters.http.bodies import SubmitBody
from adapters.http.submission import pack
from strategies.confinement import Confinement, OutsideOfFolders
from strategies.deployfile import LoadedFile, load_deploy_file
from strategies.manifest_sources import is_address
from strategies.problems import Problem

_SUFFIXES = (".yaml", ".yml")
_MOST_BELOW = 5_000
"""How many files of one manifest directory are looked at for changes."""

Signature: TypeAlias = tuple[tuple[str | int, ...], ...]
"""Of each file its path, inode, size and times of change; of what is not there its path alone. The inode's own time is among
them: copies that keep the time of the original (`cp -p`) differ in that."""


@dataclass(frozen=True, slots=True)
class ReadFile:
    """One deploy file with everything that it names."""

    body: SubmitBody
    digest: str
    problems: tuple[Problem, ...]
    paths: tuple[Path, ...]
    """What has to change for the content to change: the file, and the files and directories that it names."""


def list_deploy_files(folder: Path) -> list[Path]:
    """The deploy files directly in the folder, sorted by name. What editors leave behind is none. Raises OSError."""
    return sorted(path for path in folder.iterdir() if _is_deploy_file(path))


def _is_deploy_file(path: Path) -> bool:
    """Hidden files are left out, and with them `.#x`, `.x.swp` and the inner folders of a mounted ConfigMap."""
    return path.name.endswith(_SUFFIXES) and not path.name.startswith(".") and path.is_file()


def sign(paths: Sequence[Path]) -> Signature:
    """What tells a changed file from an unchanged one, without reading it."""
    return tuple(_sign(path) for given in paths for path in (given, *_below(given)))


def _sign(path: Path) -> tuple[str | int, ...]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return (str(path),)
    if S_ISDIR(found.st_mode):
        # Its size and times change with names that are no manifests too; its files are signed one by one.
        return str(path), found.st_ino
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _below(directory: Path) -> Iterator[Path]:
    seen = 0
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            seen += 1
            if seen > _MOST_BELOW:
                return
            if name.endswith(_SUFFIXES):
                yield Path(folder, name)


def read_deploy_file(path: Path, manifest_folders: Sequence[Path] = ()) -> ReadFile:
    """Manifests are looked for beside the file only: a daemon's working directory is nobody's intent. Nothing is read but what is
    in its folder or in `manifest_folders`, because the daemon may read more than whoever writes there."""
    confinement = Confinement((path.parent, *manifest_folders))
    loaded = load_deploy_file(path, base=path.parent, confinement=confinement)
    body = pack(loaded)
    return ReadFile(body, digest_of(body), loaded.problems.errors, (path, *_named(path.parent, loaded, confinement)))


def digest_of(body: SubmitBody) -> str:
    """Of every text, of the names under which the deploy file asks for them, and of the choices beside it.

    Neither the names of files nor what Headgate makes of their texts is part of it: moving a folder, or upgrading
    Headgate, begins nothing.
    """
    manifests = sorted((path, [file.text for file in files]) for path, files in body.manifests.items())
    content = (body.text, manifests, body.application, sorted(body.context.items()), sorted(body.targets))
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def _named(folder: Path, loaded: LoadedFile, confinement: Confinement) -> Iterator[Path]:
    """Where the manifests are, or would be: one that is missing may come. What is never read is not looked at either."""
    if loaded.root is None:
        return
    for source in loaded.root.items("manifests"):
        path = source.get("path")
        if path is not None and path.text and "\0" not in path.text and not is_address(path.text):
            with suppress(OutsideOfFolders):
                confinement.check(folder / path.text)
                yield folder / path.text
