"""The door: the text of a file with a Rollout or a Canary -> a deploy file, its manifests, and what there is to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from strategies.deploy_reader import parse_deploy_text
from strategies.importing.argo import import_rollout
from strategies.importing.draft import ACCOUNT, MANIFESTS, NAMESPACE, Draft, Part
from strategies.importing.flagger import import_canary
from strategies.importing.input_file import CANARY, ROLLOUT, InputFile, InputObject, read_input
from strategies.importing.manifests import JsonObject, Manifests
from strategies.importing.names import is_name
from strategies.importing.origins import Origin
from strategies.importing.remarks import Remark, RemarkKind
from strategies.importing.writing import Commented, Value, write_documents
from strategies.kubernetes_kinds import DEPLOYMENT, ObjectKind, rank
from strategies.manifest_sources import SourceText
from strategies.problems import FileReport, Problem, Report, TooManyErrors
from strategies.suggestions import listed, quote, suggest
from strategies.yaml_document import Mark


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the input does not hold, or what is to be another way."""

    account: str | None = None
    namespace: str | None = None
    application: str | None = None
    manifests: str | None = None
    """A path that the deploy file is to name; the objects of the input then stay out of it."""
    folder: str | None = None
    """Where manifests are written beside the deploy file, as it is to name the place; None puts them into it."""
    name: str | None = None
    """Which Rollout or Canary, when there are several."""


@dataclass(frozen=True, slots=True)
class Imported:
    kind: str
    name: str
    deploy_file: str
    manifests: Mapping[str, str] = field(default_factory=dict)
    """Files to be written into `ImportOptions.folder`, by name."""
    remarks: tuple[Remark, ...] = ()


_KINDS: Mapping[Origin, tuple[ObjectKind, Callable[[InputObject, InputFile, Draft], Manifests]]] = {
    Origin.ARGO: (ROLLOUT, import_rollout),
    Origin.FLAGGER: (CANARY, import_canary),
}


def import_text(origin: Origin, content: str | bytes, path: str, options: ImportOptions) -> Imported | tuple[Problem, ...]:
    """`path` is what messages call the input. What is returned instead of a deploy file says why there is none."""
    report = Report()
    say = FileReport(report, path)
    try:
        made = _import(origin, content, path, options, say)
    except TooManyErrors:
        made = None
    problems = report.finish(path)
    if problems.errors or made is None:
        return problems.errors
    return _checked(*made, path)


def _import(
    origin: Origin, content: str | bytes, path: str, options: ImportOptions, say: FileReport
) -> tuple[Imported, Mark] | None:
    kind, read = _KINDS[origin]
    file = read_input(content, say)
    item = _choose(file, kind, options.name, say)
    if item is None or say.report.errors:
        return None
    draft = Draft(options.application or item.name, options.account, options.namespace or _namespace(item))
    manifests = read(item, file, draft)
    for looked_at in file.subjects():
        looked_at.lose_the_rest()
    _say_placeholders(file, item, draft)
    files = _place_manifests(manifests, draft, options, file, item)
    if say.report.errors:
        return None
    remarks = tuple(sorted(file.ledger.remarks, key=lambda one: (one.line, one.column, one.field)))
    header = _header(origin, path, item, remarks)
    return Imported(kind.kind, item.name, draft.write(header), files, remarks), item.place.mark


def _namespace(item: InputObject) -> str | None:
    return item.namespace if item.namespace is not None and is_name(item.namespace) else None


def _choose(file: InputFile, kind: ObjectKind, name: str | None, say: FileReport) -> InputObject | None:
    found = file.of_kind(kind)
    if not found:
        if not say.report.errors:
            kinds = listed(dict.fromkeys(item.kind.kind for item in file.objects))
            say.error((1, 1), f"there is no {kind.kind} of {kind.group} in this; it holds {kinds or 'no objects'}")
        return None
    if name is None and len(found) == 1:
        return found[0]
    chosen = [item for item in found if item.name == name]
    if len(chosen) == 1:
        return chosen[0]
    if name is not None and not chosen:
        say.error((1, 1), f"there is no {kind.kind} {quote(name)} in this; {suggest(name, [one.name for one in found])}")
        return None
    for item in found:
        say.error(
            item.place.mark,
            f"there are several: this is the {kind.kind} {quote(item.name)}; a deploy file is made of one, so name it "
            "with --name, or give it a file of its own",
        )
    return None


def _say_placeholders(file: InputFile, item: InputObject, draft: Draft) -> None:
    metadata = item.place.get("metadata") or item.place
    if draft.account is None:
        file.ledger.add(
            RemarkKind.FILL_IN,
            metadata,
            "metadata",
            "does not say which cluster it is in",
            f"put the name of an account into targets, in the place of {ACCOUNT}, or give --account",
        )
    if draft.namespace is None:
        file.ledger.add(
            RemarkKind.FILL_IN,
            metadata,
            "metadata.namespace",
            "is not there, so it went where kubectl pointed to",
            f"put the namespace into targets, in the place of {NAMESPACE}, or give --namespace",
        )


# --- manifests -----------------------------------------------------------------------------------------------------------


def _place_manifests(
    manifests: Manifests, draft: Draft, options: ImportOptions, file: InputFile, item: InputObject
) -> dict[str, str]:
    """Into the deploy file, or into files beside it, which are returned."""
    ordered = sorted(manifests.kept.items(), key=lambda entry: rank(entry[0][0]))
    bodies: list[JsonObject] = [body for _, body in ordered]
    sources: list[Value] = []
    if options.manifests is not None:
        sources.append({"path": options.manifests})
        bodies = [body for key, body in ordered if key in manifests.made]
    elif not any(kind == DEPLOYMENT for kind, _ in manifests.kept):
        sources.append(Commented({"path": MANIFESTS}, beside="FILL IN: the Deployment is not in the input"))
        file.ledger.add(
            RemarkKind.FILL_IN,
            item.place.get("spec") or item.place,
            "spec",
            "the Deployment is not in the input",
            f"put its file or directory into manifests, in the place of {MANIFESTS}, or give --manifests",
        )
    files: dict[str, str] = {}
    if bodies:
        text = write_documents(list(bodies))
        if options.folder is None:
            sources.append({"inline": text})
        else:
            name = f"{item.name}.yaml"
            files[name] = text
            sources.append({"path": f"{options.folder.rstrip('/')}/{name}"})
    draft.manifests = sources
    return files


# --- the text ------------------------------------------------------------------------------------------------------------


def _header(origin: Origin, path: str, item: InputObject, remarks: Sequence[Remark]) -> list[str]:
    counts: Part = {}
    for kind, words in (
        (RemarkKind.FILL_IN, "to fill in"),
        (RemarkKind.LOST, "not carried over"),
        (RemarkKind.CHANGED, "with another meaning than before"),
    ):
        number = sum(remark.kind is kind for remark in remarks)
        if number:
            counts[words] = number
    said = ", ".join(f"{number} {words}" for words, number in counts.items())
    lines = [f"Made by headgate import {origin} of the {item.kind.kind} {item.name} in {path}."]
    if said:
        lines.append(f"The import listed what this file does not say by itself: {said}.")
    return lines


def _checked(made: Imported, mark: Mark, path: str) -> Imported | tuple[Problem, ...]:
    """The deploy file, unless `headgate validate` would refuse it; that is an input that no rule here foresaw."""

    def read(asked: str) -> Sequence[SourceText]:
        name = asked.rpartition("/")[2]
        return [SourceText(asked, made.manifests[name])] if name in made.manifests else []

    loaded = parse_deploy_text(made.deploy_file, "the deploy file", read)
    return (
        made
        if not loaded.problems.errors
        else tuple(
            Problem(path, *mark, f"this cannot be made a deploy file: {problem.message}") for problem in loaded.problems.errors
        )
    )
