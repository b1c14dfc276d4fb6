"""Looks into the deploy folders every few seconds, and hands over what has changed and come to rest.

Looks rather than being told: inotify hears nothing of what other machines write to a network file system, is one system's own,
and a daemon that missed a message (or was down) would have to look all the same. A look costs a `stat` per file; only what has
changed is read. Knows nothing of releases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import structlog

from adapters.blocking import run_blocking
from adapters.folders.reading import Signature, list_deploy_files, read_deploy_file, sign
from adapters.folders.standing import FileStanding, FileState, FolderStanding
from adapters.folders.submitting import Candidate, Submitter
from engine.clock import Clock
from engine.errors import StoreError
from strategies.problems import Problem

log = structlog.get_logger()

LOOK_SECONDS = 3.0
SETTLE_SECONDS = 2.0
"""A file is at rest when two looks, at least this far apart, found the same sizes and times of change."""


@dataclass(slots=True)
class _File:
    path: Path
    standing: FileStanding
    paths: tuple[Path, ...]
    """What is signed: the file, and what it was found to name."""
    seen: Signature = ()
    seen_at: float = 0.0
    """When a look first found `seen`."""
    taken: Signature | None = None
    """What was handed over; None before the first time."""
    candidate: Candidate | None = None
    """What waits to begin."""


@dataclass(slots=True)
class _Folder:
    path: Path
    files: dict[str, _File] = field(default_factory=dict)
    problem: str = ""


class Folders:
    """The deploy folders of the settings. `run` looks into them; everything else only says what the next look does."""

    def __init__(self, submitter: Submitter, clock: Clock) -> None:
        self._submitter = submitter
        self._clock = clock
        self._folders: dict[Path, _Folder] = {}
        self._manifest_folders: tuple[Path, ...] = ()
        self._asked = anyio.Event()

    def watch(self, folders: Sequence[Path], manifest_folders: Sequence[Path] = ()) -> None:
        """Look into these and no others, at once; their manifests may also be in `manifest_folders`. Files that were refused are
        looked at again: the settings that they were refused by may have changed."""
        kept = {path: self._folders.get(path) or _Folder(path) for path in folders}
        for path in self._folders.keys() - kept.keys():
            log.info("folders.left", folder=str(path), advice="what was begun from it goes on")
        self._folders = kept
        self._manifest_folders = tuple(manifest_folders)
        for folder in kept.values():
            for file in folder.files.values():
                if file.standing.state is FileState.REFUSED:
                    file.taken = None
        self._asked.set()

    def standings(self) -> tuple[FolderStanding, ...]:
        return tuple(
            FolderStanding(
                str(folder.path),
                tuple(file.standing for _, file in sorted(folder.files.items())),
                folder.problem,
            )
            for folder in self._folders.values()
        )

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self._asked = anyio.Event()
            await self.look()
            with anyio.CancelScope() as nap:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._nap, nap)
                    await self._asked.wait()
                    nap.cancel()

    async def _nap(self, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(LOOK_SECONDS)
        scope.cancel()

    async def look(self) -> None:
        """One look into every folder."""
        for folder in list(self._folders.values()):
            try:
                paths = await run_blocking(list_deploy_files, folder.path)
            except OSError as error:
                self._note_unreadable(folder, (error.strerror or str(error)).lower())
                continue
            folder.problem = ""
            self._forget_removed(folder, {path.name for path in paths})
            for path in paths:
                if self._folders.get(folder.path) is folder:
                    await self._look_at(folder, path)

    def _note_unreadable(self, folder: _Folder, why: str) -> None:
        """Its files are not taken for removed: a file system that is not mounted comes back."""
        problem = f"the folder cannot be read: {why}"
        if problem != folder.problem:
            log.warning("folders.unreadable", folder=str(folder.path), error=why)
        folder.problem = problem

    def _forget_removed(self, folder: _Folder, names: set[str]) -> None:
        for name in folder.files.keys() - names:
            path = folder.files.pop(name).path
            release = self._submitter.release_of(path)
            log.info("folders.removed", file=str(path), release=release, advice="nothing is undone by that")

    async def _look_at(self, folder: _Folder, path: Path) -> None:
        file = folder.files.get(path.name)
        if not path.name.isprintable():
            folder.files[path.name] = file or _refuse_name(path)
            return
        if file is None:
            settling = FileStanding(path.name, FileState.SETTLING)
            file = folder.files[path.name] = _File(path, settling, (path,))
        try:
            await self._follow(file)
        except StoreError as error:
            log.warning("folders.store_failed", file=str(path), error=str(error))
        except Exception:
            # Not tried again before it changes, and no reason to end the daemon and what it drives.
            log.exception("folders.defect", file=str(path))
            file.taken, file.candidate = file.seen, None
            message = "an error that nobody foresaw; the daemon's log says more"
            file.standing = FileStanding(path.name, FileState.REFUSED, message=message)

    async def _follow(self, file: _File) -> None:
        signature = await run_blocking(sign, file.paths)
        if signature == file.taken:
            await self._try_again(file)
        elif signature != file.seen:
            self._wait_for_rest(file, signature)
        elif self._clock.monotonic() - file.seen_at >= SETTLE_SECONDS:
            await self._take(file)

    def _wait_for_rest(self, file: _File, signature: Signature) -> None:
        """The content before, if it waits still, is not the newest any more."""
        file.seen, file.seen_at = signature, self._clock.monotonic()
        file.taken, file.candidate = None, None
        file.standing = FileStanding(file.path.name, FileState.SETTLING)

    async def _take(self, file: _File) -> None:
        """Read it, and hand it over if nothing of it has moved meanwhile, nor names anything that was not looked at."""
        read = await run_blocking(read_deploy_file, file.path, self._manifest_folders)
        file.paths = read.paths
        signature = await run_blocking(sign, file.paths)
        if signature != file.seen:
            self._wait_for_rest(file, signature)
            return
        found = await self._submitter.consider(file.path, read)
        if isinstance(found, Candidate):
            file.candidate = found
            await self._begin(file, found)
        else:
            file.standing = found
        file.taken = signature

    async def _try_again(self, file: _File) -> None:
        if file.candidate is not None:
            await self._begin(file, file.candidate)

    async def _begin(self, file: _File, candidate: Candidate) -> None:
        standing = await self._submitter.begin(candidate)
        if standing.state is not FileState.WAITING:
            file.candidate = None
        elif file.standing != standing:
            log.info("folders.waiting", file=str(file.path), release=standing.release, why=standing.message)
        file.standing = standing


def _refuse_name(path: Path) -> _File:
    """It would go into the journal, and from there to people's terminals."""
    shown = ascii(path.name)[1:-1]
    problem = Problem(str(path.parent / shown), 1, 1, "the file's name is not printable text; rename it")
    log.warning("folders.refused", file=shown, problems=[str(problem)])
    standing = FileStanding(shown, FileState.REFUSED, message="its name cannot be used", problems=(problem,))
    return _File(path, standing, ())
