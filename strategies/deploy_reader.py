"""Reads a deploy file and its manifests, and says all that there is to say about them at once.

The order matters: text, tree, known mistakes put right, schema, then the checks of names, steps, traffic and
manifests, each of which works on what the earlier ones found fault with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strategies.capability_checks import check_capabilities
from strategies.confinement import Confinement, OutsideOfFolders
from strategies.deployfile_models import DeployFile
from strategies.job_manifests import JobManifests, read_jobs
from strategies.manifest_checks import check_manifests
from strategies.manifest_objects import ManifestObject, read_objects
from strategies.manifest_sources import (
    DiskReader,
    Fetch,
    Found,
    ManifestReader,
    SourceText,
    Unreadable,
    is_address,
    refuse_to_fetch,
)
from strategies.old_ways import find_old_ways
from strategies.places import Place
from strategies.problems import MOST, FileReport, Problem, Problems, Report, TooManyErrors
from strategies.reference_checks import check_references
from strategies.schema_problems import check_schema
from strategies.step_checks import check_settings, check_steps
from strategies.template_checks import check_templates
from strategies.tolerated import put_right
from strategies.traffic_checks import check_traffic
from strategies.traffic_step_checks import check_traffic_steps
from strategies.yaml_document import Limits, Mark, ScalarNode, compose, decode
from strategies.yaml_scalars import Dialect

LIMITS = Limits(bytes=1 << 20, values=20_000)
MOST_TARGETS = 1_000


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A deploy file with its manifests, as far as they could be read."""

    name: str
    text: str
    """The deploy file as it was read."""
    sources: Mapping[str, tuple[SourceText, ...]]
    """The manifest files by the `path` that asked for them: with `text`, a bundle that can be sent elsewhere."""
    document: DeployFile | None
    """None when the file does not fit the schema."""
    objects: tuple[ManifestObject, ...]
    problems: Problems
    jobs: JobManifests = field(default_factory=JobManifests)
    """The Jobs of `runJob` steps."""
    root: Place | None = field(default=None, repr=False, compare=False)
    """The deploy file as a tree that knows its places; None when it is not YAML."""

    def mark_of(self, path: Sequence[str | int]) -> Mark:
        """Where the value at a path of the deploy file stands, or as much of the way as there is; from 1:1."""
        return self.root.deepest(path).mark if self.root is not None else Mark(1, 1)


Find = Callable[[str], Found]


def load_deploy_file(
    path: str | Path,
    *,
    base: Path | None = None,
    fetch: Fetch = refuse_to_fetch,
    confinement: Confinement | None = None,
) -> LoadedFile:
    """Read a deploy file and the manifests that it names.

    A manifest's path is looked for beside the deploy file first, then in `base`, the working directory unless it is
    given; an address goes to `fetch`. No file outside of `confinement` is read. Never raises for what the files hold,
    nor when they cannot be read: `problems` says so.
    """
    name = str(path)
    try:
        content = _read(Path(path), confinement)
    except OutsideOfFolders:
        return _refused(name, Problem(name, 1, 1, "this link leads out of the deploy folder; put the file itself there"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return _refused(name, Problem(name, 1, 1, f"the deploy file cannot be read: {why.lower()}"))
    reader = DiskReader(Path(path), Path.cwd() if base is None else base, fetch, confinement)
    return _load(content, name, reader.find)


def parse_deploy_text(text: str | bytes, name: str, read: ManifestReader) -> LoadedFile:
    """Read a deploy file that is already at hand; `name` is what messages call it, and `read` gives its manifests."""

    def find(path: str) -> Found:
        return Found(tuple(read(path)))

    return _load(text, name, find)


def _read(path: Path, confinement: Confinement | None) -> bytes:
    with path.open("rb") as file:
        if confinement is not None:
            confinement.check_open(file)
        return file.read(LIMITS.bytes + 1)


def _refused(name: str, problem: Problem, text: str = "") -> LoadedFile:
    return LoadedFile(name, text, {}, None, (), Problems((problem,)))


def _load(content: str | bytes, name: str, find: Find) -> LoadedFile:
    if isinstance(content, bytes):
        text, fault = ("", None) if len(content) > LIMITS.bytes else decode(content)
        if len(content) > LIMITS.bytes:
            return _refused(name, Problem(name, 1, 1, f"the file is larger than {LIMITS.bytes >> 20} MiB; split it"))
        if fault is not None:
            return _refused(name, Problem(name, *fault.mark, fault.message))
    else:
        text = content
    report = Report()
    reading = _Reading(text, FileReport(report, name), find)
    rest: tuple[Problem, ...] = ()
    try:
        reading.run()
    except TooManyErrors:
        rest = (Problem(name, 1, 1, f"there are more errors than these {MOST}; correct them first"),)
    found = report.finish(name)
    problems = Problems(found.errors + rest, found.warnings)
    return LoadedFile(name, text, reading.sources, reading.document, tuple(reading.objects), problems, reading.jobs, reading.root)


class _Reading:
    """One deploy file being read."""

    def __init__(self, text: str, say: FileReport, find: Find) -> None:
        self._text = text
        self._say = say
        self._find = find
        self.sources: dict[str, tuple[SourceText, ...]] = {}
        self.objects: list[ManifestObject] = []
        self.jobs = JobManifests()
        self.document: DeployFile | None = None
        self.root: Place | None = None

    def run(self) -> None:
        root = self._compose()
        if root is None:
            return
        self.root = root
        put_right(root, self._say.warn)
        if self._is_lambda(root) or self._is_too_large(root):
            return
        self.document = check_schema(root, self._say.error)
        for check in (check_steps, check_traffic_steps, check_settings, check_references, check_traffic, check_templates):
            check(root, self._say)
        find_old_ways(root, self._say)
        self._read_manifests(root)
        check_manifests(root, self.objects, self._say)
        if self.document is not None:
            check_capabilities(root, self.document, self.objects, self._say)
        self.jobs = read_jobs(root, self._read_job, self._say)

    def _compose(self) -> Place | None:
        composed = compose(self._text, dialect=Dialect.DEPLOY_FILE, limits=LIMITS, single=True)
        for fault in composed.faults:
            self._say.error(fault.mark, fault.describe(lambda mark: mark))
        if not composed.documents:
            if not composed.faults:
                self._say.error(
                    Mark(1, 1), 'the file is empty; a deploy file begins with "version: v1" and "application: ..."'
                )
            return None
        root = Place.root(composed.documents[0])
        if not root.is_mapping:
            self._say.error(
                root.mark, 'this is not a deploy file; expected a mapping with "application", "targets" and "manifests"'
            )
            return None
        return root

    def _is_lambda(self, root: Place) -> bool:
        kind = root.get("kind")
        if kind is None or (kind.text or "").strip().lower() != "lambda":
            return False
        self._say.error(
            kind.mark, "kind: lambda is not supported; Headgate deploys to Kubernetes, and kind is kubernetes there"
        )
        return True

    def _is_too_large(self, root: Place) -> bool:
        targets = root.get("targets")
        if targets is None or len(targets.names) <= MOST_TARGETS:
            return False
        self._say.error(
            targets.key_mark, f"there are more than {MOST_TARGETS:,} targets; make several files of this one"
        )
        return True

    def _read_manifests(self, root: Place) -> None:
        everywhere = frozenset(name for name, _ in root.entries("targets"))
        for source in root.items("manifests"):
            named = source.get("targets")
            targets = everywhere
            if named is not None:
                targets = frozenset(item.text for item in named.items() if item.text is not None)
            path, inline = source.get("path"), source.get("inline")
            if path is not None and path.text is not None:
                self._read_path(path, path.text, targets)
            elif inline is not None and inline.text is not None:
                self.objects.extend(read_objects(inline.text, self._report_inline(inline), targets))

    def _read_path(self, place: Place, path: str, targets: frozenset[str]) -> None:
        for file in self._files_of(place, path):
            self.objects.extend(read_objects(file.text, FileReport(self._say.report, file.name), targets))

    def _files_of(self, place: Place, path: str) -> tuple[SourceText, ...]:
        if is_address(path) and path.strip().lower().startswith("http://"):
            self._say.warn(place.mark, "what comes over http can be changed on its way; write https://")
        try:
            found = self._find(path)
        except Unreadable as error:
            self._say.error(place.mark, str(error))
            return ()
        if found.warning:
            self._say.warn(place.mark, found.warning)
        for fault in found.faults:
            self._say.report.error(fault)
        self.sources[path] = found.files
        return found.files

    def _read_job(self, source: Place) -> list[ManifestObject]:
        """The objects of a `runJob` step's `path` or `inline`."""
        text = source.text or ""
        if source.path[-1] == "inline":
            return read_objects(text, self._report_inline(source), frozenset())
        files = self._files_of(source, text)
        return [one for file in files for one in read_objects(file.text, FileReport(self._say.report, file.name), frozenset())]

    def _report_inline(self, place: Place) -> FileReport:
        """Places in a `|` block are places of the deploy file, further down and further right; in other text they
        are not."""
        report = FileReport(self._say.report, self._say.path, pinned=place.mark)
        node = place.node
        if not isinstance(node, ScalarNode) or not node.literal:
            return report
        below = self._text.splitlines()[node.mark.line :]
        first = next((line for line in below if line.strip()), "")
        inner = next((line for line in node.text.splitlines() if line.strip()), "")
        indentation = _indentation(first) - _indentation(inner)
        return FileReport(self._say.report, self._say.path, shift=(node.mark.line, max(indentation, 0)))


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
