"""Where manifests come from: the files behind a `manifests[].path`, read from disk, fetched, or taken from a bundle.

Knows nothing of what is in them, and fetches nothing itself: whoever reads a file with addresses says how (`Fetch`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from strategies.confinement import Confinement, OutsideOfFolders
from strategies.problems import Problem
from strategies.suggestions import quote, suggest
from strategies.yaml_document import decode

MOST_BYTES = 4 << 20
"""The largest manifest file. An object in a cluster is at most 1.5 MiB."""
MOST_BYTES_OF_ALL = 32 << 20
MOST_FILES = 1_000
_MOST_VISITED = 20_000


@dataclass(frozen=True, slots=True)
class SourceText:
    """One manifest file: the name that messages use, and what it holds."""

    name: str
    text: str


ManifestReader = Callable[[str], Sequence[SourceText]]
"""From a `manifests[].path` to the files behind it, in order. Raises `Unreadable`."""


Fetch = Callable[[str], bytes]
"""From an address (https://...) to what is there, at most `MOST_BYTES` and one more. Raises `Unreadable`."""


class Unreadable(Exception):
    """A `manifests[].path` leads nowhere; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    files: tuple[SourceText, ...]
    faults: tuple[Problem, ...] = ()
    """What is wrong with the files as files; such a file is not among `files`."""
    warning: str = ""


def is_address(path: str) -> bool:
    """Whether a `manifests[].path` is fetched instead of read."""
    return path.strip().lower().startswith(("http://", "https://"))


def refuse_to_fetch(address: str) -> bytes:
    """The `Fetch` of whoever has no network. Raises `Unreadable`."""
    raise Unreadable(f"{quote(address)} is not fetched here; fetch it, and name the file instead")


def read_from_bundle(sources: Mapping[str, Sequence[SourceText]]) -> ManifestReader:
    """Manifests that were sent along with the deploy file, as `LoadedFile.sources` holds them."""

    def read(path: str) -> Sequence[SourceText]:
        if path not in sources:
            raise Unreadable(f"{quote(path)} was not sent along with the deploy file; send it again")
        return sources[path]

    return read


class DiskReader:
    """Reads manifests beside the deploy file, or else in the working directory; what has an address is fetched.

    `confinement`: what is read has to be in there; None for whoever reads their own files."""

    def __init__(
        self,
        deploy_file: Path,
        working_directory: Path,
        fetch: Fetch = refuse_to_fetch,
        confinement: Confinement | None = None,
    ) -> None:
        self._folder = deploy_file.parent
        self._working_directory = working_directory
        self._fetch = fetch
        self._confinement = confinement
        self._bytes = 0

    def find(self, path: str) -> Found:
        """Raises `Unreadable`."""
        if "\0" in path:
            raise Unreadable("the path holds a null byte; remove it")
        if is_address(path):
            return self._take(path.strip())
        try:
            if self._confinement is not None:
                self._confinement.check(self._folder / path)
            return self._find(path)
        except OutsideOfFolders:
            raise Unreadable(
                f"{quote(path)} leads out of the deploy folder; move it below that, or name its folder in manifestFolders of the "
                "daemon's settings"
            ) from None
        except OSError as error:
            raise Unreadable(f"{quote(path)} cannot be read: {(error.strerror or str(error)).lower()}") from error

    def _take(self, address: str) -> Found:
        files: list[SourceText] = []
        faults: list[Problem] = []
        self._keep(_without_query(address), self._fetch(address), files, faults)
        return Found(tuple(files), tuple(faults))

    def _find(self, path: str) -> Found:
        beside, within = self._folder / path, self._working_directory / path
        if not beside.exists():
            if not within.exists():
                raise Unreadable(self._explain_missing(path, beside, within))
            beside = within
        chosen = Path(os.path.normpath(beside))
        found = self._read(chosen, path)
        if beside == within or not within.exists() or beside.samefile(within):
            return found
        if _contents(beside) == _contents(within):
            return found
        other = Path(os.path.normpath(within))
        return Found(
            found.files, found.faults, f"{quote(path)} is {chosen}; there is another one at {other}, which is not used"
        )

    def _explain_missing(self, path: str, beside: Path, within: Path) -> str:
        places = [beside] if _folder_of(beside) == _folder_of(within) else [beside, within]
        looked = " and in ".join(os.path.normpath(place.parent) for place in places)
        message = f"{quote(path)} does not exist; looked in {looked}"
        for place in places:
            if place.parent.is_dir():
                advice = suggest(place.name, [entry.name for entry in place.parent.iterdir()], "")
                if advice.startswith("did you mean"):
                    return f"{message}; {advice}"
        return message

    def _read(self, path: Path, asked: str) -> Found:
        if path.is_dir():
            names = list(_yaml_files(path))
            if not names:
                raise Unreadable(f"the directory {quote(asked)} holds no .yaml or .yml file; name another")
        elif path.is_file():
            names = [path]
        else:
            raise Unreadable(f"{quote(asked)} is neither a file nor a directory; name another")
        files: list[SourceText] = []
        faults: list[Problem] = []
        for name in names:
            self._read_file(name, files, faults)
        return Found(tuple(files), tuple(faults))

    def _read_file(self, path: Path, files: list[SourceText], faults: list[Problem]) -> None:
        with path.open("rb") as file:
            if self._confinement is not None:
                self._confinement.check_open(file)
            content = file.read(MOST_BYTES + 1)
        self._keep(str(path), content, files, faults)

    def _keep(self, name: str, content: bytes, files: list[SourceText], faults: list[Problem]) -> None:
        self._bytes += len(content)
        if len(content) > MOST_BYTES:
            faults.append(Problem(name, 1, 1, f"the file is larger than {MOST_BYTES >> 20} MiB; split it"))
            return
        if self._bytes > MOST_BYTES_OF_ALL:
            raise Unreadable(
                f"the manifests are larger than {MOST_BYTES_OF_ALL >> 20} MiB together; deploy fewer at a time"
            )
        text, fault = decode(content)
        if fault is not None:
            faults.append(Problem(name, *fault.mark, fault.message))
            return
        files.append(SourceText(name, text))


def _without_query(address: str) -> str:
    """What messages call it: a query may hold a key."""
    return address.partition("?")[0]


def _folder_of(path: Path) -> Path:
    return path.parent.resolve()


def _yaml_files(directory: Path) -> Iterator[Path]:
    """The .yaml and .yml files below a directory, sorted by their path."""
    found: list[Path] = []
    visited = 0

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(directory, onerror=refuse):
        folders.sort()
        visited += len(names) + len(folders)
        if visited > _MOST_VISITED:
            raise Unreadable(
                f"the directory {quote(str(directory))} holds more than {_MOST_VISITED:,} files; name a smaller one"
            )
        found.extend(
            Path(folder, name) for name in names if name.endswith((".yaml", ".yml")) and Path(folder, name).is_file()
        )
    if len(found) > MOST_FILES:
        raise Unreadable(
            f"the directory {quote(str(directory))} holds more than {MOST_FILES:,} manifests; name a smaller one"
        )
    yield from sorted(found)


def _contents(path: Path) -> list[tuple[str, bytes]]:
    if path.is_dir():
        return [(str(file.relative_to(path)), _head(file)) for file in _yaml_files(path)]
    return [("", _head(path))]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)
