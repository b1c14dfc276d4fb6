"""Reading files no further than some folders: whoever may write there must not get to read the rest of the host. Knows nothing of
what is in a file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO


class OutsideOfFolders(Exception):
    """A path leads out of the folders, by "..", by a link, or because it is absolute."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The folders, as they are named. They may be links themselves: where each leads is looked up at each use."""

    folders: tuple[Path, ...]

    def check(self, path: Path) -> None:
        """Raises `OutsideOfFolders`, and says by that nothing of whether anything is there."""
        self._check_real(os.path.realpath(path))

    def check_open(self, file: IO[bytes]) -> None:
        """Of a file that is open, so that no link can be changed in between. Raises `OutsideOfFolders`."""
        self._check_real(os.path.realpath(f"/proc/self/fd/{file.fileno()}"))

    def _check_real(self, path: str) -> None:
        if not any(Path(path).is_relative_to(os.path.realpath(folder)) for folder in self.folders):
            raise OutsideOfFolders
