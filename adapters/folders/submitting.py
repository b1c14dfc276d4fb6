"""Whether what a file says is new, and the release that it begins if it is.

A file is submitted when it says something else than what it stood for before, and no other file stands for the same. What a
file stands for is written down in one transaction with its release, so that no crash begins one twice. Knows nothing of how
files change on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog

from adapters.folders.reading import ReadFile
from adapters.folders.standing import FileStanding, FileState
from adapters.http.bodies import ErrorBody
from adapters.http.failures import ApiFailure
from adapters.http.identity import Caller
from adapters.http.service import Service
from adapters.http.submission import compile_submission
from engine.errors import Conflict
from engine.model import Origin, ReleasePlan
from engine.ports import NotedOrigin
from strategies.problems import Problem

log = structlog.get_logger()

SUBMITTER = Caller("a deploy folder", None)
"""Whose the release is. The folders are named in the settings, so that what lies in them has no less right than those."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file's newest content, which is to begin as soon as nothing is in its way."""

    origin: Origin
    plan: ReleasePlan
    source: str


class Submitter:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._noted: dict[tuple[str, str], NotedOrigin] = {}
        self._is_doubtful = True
        """Whether the store may know more than `_noted`: at the start, and after a write whose end nobody heard of."""

    def release_of(self, path: Path) -> str:
        """The release that the file stands for; empty when there is none."""
        noted = self._noted.get((str(path.parent), path.name))
        return noted.release if noted is not None else ""

    async def consider(self, path: Path, read: ReadFile) -> FileStanding | Candidate:
        """What the file's content means: nothing new, nothing that can be used, or a release to begin.

        Raises `StoreError`.
        """
        origin = Origin(str(path.parent), path.name, read.digest)
        if (known := await self._find(origin)) is not None:
            return await self._stand_for(origin, known)
        if read.problems:
            return _refuse(path, read.problems)
        try:
            plan = await compile_submission(read.body, SUBMITTER, self._service.known())
        except ApiFailure as failure:
            return _refuse(path, _problems_of(failure.body, read.body.name), failure.body.message)
        for warning in plan.warnings:
            log.warning("folders.warning", file=str(path), warning=warning)
        return Candidate(origin, plan, read.body.name)

    async def begin(self, candidate: Candidate) -> FileStanding:
        """Submit it, unless it is known by now. One that cannot begin yet is waiting, and may be given here again.

        Raises `StoreError`.
        """
        origin, application = candidate.origin, candidate.plan.application
        if (known := await self._find(origin)) is not None:
            return await self._stand_for(origin, known)
        self._is_doubtful = True
        try:
            release = await self._service.engine.submit(
                candidate.plan, by=SUBMITTER.name, source=candidate.source, origin=origin
            )
        except Conflict as error:
            self._is_doubtful = False
            return FileStanding(origin.file, FileState.WAITING, error.release, f"it is tried again: {error}")
        self._is_doubtful = False
        self._noted[origin.folder, origin.file] = NotedOrigin(origin, release.id)
        log.info("folders.submitted", release=release.id, application=application, file=candidate.source)
        return FileStanding(origin.file, FileState.STARTED, release.id, f"release {release.id} of {application} was begun")

    async def _find(self, origin: Origin) -> NotedOrigin | None:
        """What the file stands for already, or another file that stands for the same."""
        if self._is_doubtful:
            found = await self._service.store.origins()
            self._noted = {(noted.origin.folder, noted.origin.file): noted for noted in found}
            self._is_doubtful = False
        own = self._noted.get((origin.folder, origin.file))
        if own is not None and own.origin.digest == origin.digest:
            return own
        return next((noted for noted in self._noted.values() if noted.origin.digest == origin.digest), None)

    async def _stand_for(self, origin: Origin, known: NotedOrigin) -> FileStanding:
        """Written down also where another file has begun it, because that one may say something else tomorrow."""
        if known.origin == origin:
            message = f"release {known.release} was begun from this content"
            return FileStanding(origin.file, FileState.UNCHANGED, known.release, message)
        noted = NotedOrigin(origin, known.release)
        await self._service.store.note_origin(noted)
        self._noted[origin.folder, origin.file] = noted
        other = Path(known.origin.folder, known.origin.file)
        message = f"it says the same as {other}, from which release {known.release} was begun"
        log.info("folders.same", file=str(Path(origin.folder, origin.file)), other=str(other), release=known.release)
        return FileStanding(origin.file, FileState.UNCHANGED, known.release, message)


def _problems_of(body: ErrorBody, name: str) -> tuple[Problem, ...]:
    found = tuple(Problem(one.path, one.line, one.column, one.message) for one in body.problems)
    return found or (Problem(name, 1, 1, body.message),)


def _refuse(path: Path, problems: tuple[Problem, ...], message: str = "") -> FileStanding:
    """Said once: a file that is refused is not looked at again before it changes."""
    log.warning("folders.refused", file=str(path), problems=[str(problem) for problem in problems])
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    return FileStanding(
        path.name,
        FileState.REFUSED,
        message=message or f"it is not valid: {count}; nothing was started",
        problems=problems,
    )
