"""What a reader of deploy files has to say: errors and warnings, each with its place.

Knows nothing of YAML, of the schema or of Kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_LONGEST = 800
MOST = 200
"""The most errors, and the most warnings, of one file and its manifests that are worth reading."""


class TooManyErrors(Exception):
    """Reading on would only make the list longer."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One sentence about one place of one file. `line` and `column` count from 1."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Problems:
    """All that was found in one deploy file and its manifests, each list in the order of the files."""

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the file cannot be used."""
        return bool(self.errors)


@dataclass(slots=True)
class Report:
    """Collects while reading. Saying the same thing of the same place twice counts once."""

    errors: dict[Problem, None] = field(default_factory=dict)
    warnings: dict[Problem, None] = field(default_factory=dict)

    def error(self, problem: Problem) -> None:
        """Raises `TooManyErrors` when there are `MOST` of them."""
        self.errors[problem] = None
        if len(self.errors) >= MOST:
            raise TooManyErrors

    def warn(self, problem: Problem) -> None:
        if len(self.warnings) < MOST:
            self.warnings[problem] = None

    def finish(self, first_path: str) -> Problems:
        """Everything, sorted by place: the deploy file `first_path` first, then the manifests by name."""

        def place(item: Problem) -> tuple[bool, str, int, int]:
            return item.path != first_path, item.path, item.line, item.column

        return Problems(tuple(sorted(self.errors, key=place)), tuple(sorted(self.warnings, key=place)))


@dataclass(frozen=True, slots=True)
class FileReport:
    """What there is to say about one file, or about a text that stands in a file. Places are (line, column), from 1."""

    report: Report
    path: str
    shift: tuple[int, int] = (0, 0)
    """Added to every place: a block of text in a file begins further down and further right than it thinks."""
    pinned: tuple[int, int] | None = None
    """Where everything is reported when the lines of the text are not lines of the file."""

    def locate(self, mark: tuple[int, int]) -> tuple[str, int, int]:
        if self.pinned is not None:
            return (self.path, *self.pinned)
        return self.path, mark[0] + self.shift[0], mark[1] + self.shift[1]

    def error(self, mark: tuple[int, int], message: str) -> None:
        self.report.error(Problem(*self.locate(mark), self._complete(mark, message)))

    def warn(self, mark: tuple[int, int], message: str) -> None:
        self.report.warn(Problem(*self.locate(mark), self._complete(mark, message)))

    def _complete(self, mark: tuple[int, int], message: str) -> str:
        """One printable line of bearable length, whatever names from the file the message repeats."""
        prefix = "" if self.pinned is None else f"in line {mark[0]} of this text: "
        shown = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
        return prefix + "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shown)
