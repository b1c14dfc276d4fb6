"""The Jobs of `runJob` steps: read where the step says, and checked to be something that ends by itself.

It knows a deploy file's tree and Kubernetes objects; what a Job is started with is `adapters.kubernetes.jobs`' business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from strategies.kubernetes_kinds import JOB
from strategies.manifest_objects import ManifestObject
from strategies.places import Place
from strategies.problems import FileReport
from strategies.step_checks import all_steps
from strategies.step_models import RunJobStep
from strategies.suggestions import quote
from strategies.template_checks import find_unknown, variables_of
from strategies.yaml_document import to_plain

ReadObjects: TypeAlias = Callable[[Place], Sequence[ManifestObject]]
"""The objects behind a step's `path` or `inline`; what is wrong with them has been said."""
_Source: TypeAlias = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class JobManifests:
    """The Jobs that a file's steps name, as JSON, by what the step wrote."""

    _by_source: Mapping[_Source, str] = field(default_factory=dict)

    def of(self, step: RunJobStep) -> str:
        return self._by_source[step.path, step.inline]


def read_jobs(root: Place, read: ReadObjects, say: FileReport) -> JobManifests:
    """Every step's Job. Steps whose Job cannot be used have an error at their place, and no entry."""
    found: dict[_Source, str] = {}
    for step, _ in all_steps(root):
        run = step.get("runJob")
        if run is None or not run.is_mapping:
            continue
        path, inline = run.get("path"), run.get("inline")
        if path is not None and inline is not None:
            say.error(inline.key_mark, 'a test has either "path" or "inline"; remove one of the two')
            continue
        source = path or inline
        if source is None:
            say.error(run.key_mark, 'this test has neither "path" nor "inline"; add the Job that it runs')
            continue
        key = (path.text if path is not None else None, inline.text if inline is not None else None)
        if source.text is None or key in found:
            continue
        job = _sole_job(read(source), source, say)
        if job is not None and _is_usable(job):
            found[key] = json.dumps(to_plain(job.place.node), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return JobManifests(found)


def _sole_job(objects: Sequence[ManifestObject], source: Place, say: FileReport) -> ManifestObject | None:
    if not objects:
        return None
    first = objects[0]
    if len(objects) > 1:
        say.error(source.mark, f"a test is exactly one Job, and here are {len(objects)} objects; keep the Job")
        return None
    if first.kind != JOB or first.api_version != "batch/v1":
        kind = f"{first.kind.kind} ({first.api_version})"
        first.say.error(first.name_mark, f"a test is a Job (batch/v1), and this is a {kind}; put its pod into a Job")
        return None
    return first


def _is_usable(job: ManifestObject) -> bool:
    good = True
    for mark_of, sentence in _find_faults(job):
        job.say.error(mark_of.mark, sentence)
        good = False
    return good


def _find_faults(job: ManifestObject) -> Iterator[tuple[Place, str]]:
    what, place = f"the Job {quote(job.name)}", job.place
    policy = place.at("spec", "template", "spec", "restartPolicy")
    if not any(True for _ in place.items("spec", "template", "spec", "containers")):
        yield place, f"{what} has no spec.template.spec.containers; add what it runs"
    elif policy is None or policy.text not in ("Never", "OnFailure"):
        yield policy or place, f'{what} needs spec.template.spec.restartPolicy "Never" or "OnFailure"; a Job has to end'
    suspended = place.at("spec", "suspend")
    if suspended is not None and suspended.value is True:
        yield suspended, f"{what} is suspended, so it would never end; remove spec.suspend"
    selector = place.at("spec", "manualSelector")
    if selector is not None and selector.value is True:
        yield selector, f"{what} chooses its pods by a selector of its own; remove spec.manualSelector and spec.selector"
    for text in texts_in(to_plain(place.node)):
        if any(scope == "secrets" for scope, _ in variables_of(text)):
            instead = "name a Secret of the cluster in its env (valueFrom.secretKeyRef) instead"
            yield place, f"{what} uses {{{{secrets...}}}}, which would lie open in the cluster; {instead}"
            return


def unknown_in_job(manifest: str, armory: Sequence[str], context: Collection[str]) -> Iterator[str]:
    """What is wrong with the variables of a Job, each in a sentence."""
    for text in texts_in(json.loads(manifest)):
        yield from find_unknown(text, armory, context)


def texts_in(part: Any) -> Iterator[str]:  # noqa: ANN401  any part of a JSON document
    """Every text value of a document; keys are not templates."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for inner in part.values():
            yield from texts_in(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from texts_in(inner)
