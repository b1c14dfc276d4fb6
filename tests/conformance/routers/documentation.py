"""Writes `docs/routers.md`: what each router can do, and which stories it has told on which control plane.

    python -m tests.conformance.routers.documentation      tells all stories first; takes a quarter of an hour

The tables of what routers can do are kept current by a test. The counts are those of the last run of this command.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree

from strategies.capabilities import Capabilities, Mirroring, capabilities_of
from tests.conformance.routers.cases import CASES, RouterCase
from tests.conformance.routers.deploy_files import routes_of
from tests.e2e.controlplane.binaries import kubernetes_version

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[2] / "docs" / "routers.md"
PLANES = ("embedded", "real")
STORIES = {
    "test_each_weight_is_what_clients_get_and_nothing_is_left_in_the_end": "weights",
    "test_a_bad_version_is_undone_and_nothing_is_left_of_it": "bad version",
    "test_an_abort_at_the_first_step": "abort, first step",
    "test_an_abort_at_the_last_step": "abort, last step",
    "test_an_abort_while_the_new_version_takes_over": "abort, hand-over",
    "test_a_newer_release_takes_the_place_of_one_in_mid_step": "replaced",
    "test_a_daemon_that_is_killed_again_and_again_ends_the_same": "killed",
    "test_a_weight_falls_with_the_pods_that_carry_it_and_rises_again": "pods die",
    "test_an_edited_weight_is_held_and_an_abort_leaves_nothing": "drift held",
    "test_an_edited_weight_is_put_back_and_a_fight_for_it_is_held": "drift put back",
    "test_an_edited_weight_ends_the_rollout_where_the_file_says_so": "drift ends it",
    "test_what_somebody_does_elsewhere_in_the_objects_is_kept_when_it_succeeds": "edits kept",
    "test_what_somebody_does_elsewhere_in_the_objects_is_kept_when_it_is_undone": "edits kept, undone",
    "test_requests_that_are_singled_out_meet_the_new_version_whatever_its_weight": "header routes",
    "test_copies_of_requests_come_to_the_new_version": "copies",
    "test_clients_that_the_new_version_has_answered_stay_with_it": "clients stay",
}
"""The columns of the table, by the stories' functions."""
Results: TypeAlias = Counter[tuple[str, str, str, str]]
"""By story, case, plane and outcome."""


def tell_all() -> Results:
    """All stories on both planes, each in a run of its own."""
    results: Results = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for plane, marks in zip(PLANES, ("not real and not browser", "real"), strict=True):
            told = Path(folder, f"{plane}.xml")
            options = ["-q", "-m", marks, "-n", "2", "--dist", "worksteal", f"--junit-xml={told}", str(FOLDER)]
            subprocess.run([sys.executable, "-m", "pytest", *options], check=False)
            results.update(count(told.read_text("utf-8")))
    return results


def count(junit: str) -> Results:
    """By what pytest has noted of every test, in the form of JUnit."""
    results: Results = Counter()
    for test in ElementTree.fromstring(junit).iter("testcase"):
        story, _, told_of = test.attrib["name"].partition("[")
        plane, _, case = told_of.rstrip("]").partition("-")
        if story in STORIES:
            name = max((one.name for one in CASES if case.startswith(one.name)), key=len)
            outcome = "passed" if not len(test) else "skipped" if test.find("skipped") is not None else "failed"
            results[story, name, plane, outcome] += 1
    return results


# --- the page ----------------------------------------------------------------------------------------------------------


def render(results: Results) -> str:
    passed = {plane: sum(n for key, n in results.items() if key[2:] == (plane, "passed")) for plane in PLANES}
    others = {plane: sum(n for key, n in results.items() if key[2] == plane and key[3] != "passed") for plane in PLANES}
    told = ", ".join(f"{passed[plane]} of {passed[plane] + others[plane]} on {_called(plane)}" for plane in PLANES)
    return f"""{static()}
## What was shown

One suite (`tests/conformance/routers`) tells the same stories of every router. What clients get is read from the objects by
something that shares nothing with the routers. After every single change of the cluster whatever is named has to be there, and
whatever has weight has to have a pod. In the end every object of the user's is as before, byte for byte. The daemon has the
rights that it asks for itself, and no others. The definitions on the real API server are the projects' own
(`tests/e2e/controlplane/definitions.py`); pods and proxies are not real there. Linkerd publishes no definitions, so it is told
of on the embedded cluster alone.

Passed in the last run of the whole suite, {len(CASES)} routers with {len(STORIES)} stories: {told}.
In the table: on the embedded cluster / on a real API server (Kubernetes {kubernetes_version()}); - where it is not told.

{_table(results)}
"""


def _called(plane: str) -> str:
    return "the embedded cluster" if plane == "embedded" else "a real API server"


def _table(results: Results) -> str:
    lines = [f"| router | {' | '.join(STORIES.values())} |", f"|---|{'---|' * len(STORIES)}"]
    lines += [f"| {case.name} | {' | '.join(_cell(results, story, case) for story in STORIES)} |" for case in CASES]
    return "\n".join(lines)


def _cell(results: Results, story: str, case: RouterCase) -> str:
    counts = [_count(results, story, case, plane) for plane in PLANES]
    return " / ".join(counts) if any(one != "-" for one in counts) else ""


def _count(results: Results, story: str, case: RouterCase, plane: str) -> str:
    told = {outcome: results[story, case.name, plane, outcome] for outcome in ("passed", "failed", "skipped")}
    if not any(told.values()):
        return "-"
    return f"{told['passed']} of {sum(told.values())}" if told["passed"] < sum(told.values()) else str(told["passed"])


def static() -> str:
    """The part that follows from the tables of the code alone."""
    rows = "\n".join(f"| {' | '.join(_abilities(case))} |" for case in CASES)
    return f"""# Routers

<!-- Generated by `python -m tests.conformance.routers.documentation`. Do not edit. -->

What stands for a weight, and what can be ordered beside it. Source of the table: `strategies/capabilities.py`, which is asked
before a deploy file is accepted.

| router | a weight is exact to | requests singled out by | copies of requests | clients stay | an edit can be put back |
|---|---|---|---|---|---|
{rows}

Where a weight is not exact, the share that was reached is reported beside the one that was asked for.
"""


def _abilities(case: RouterCase) -> Iterator[str]:
    able = capabilities_of(routes_of(case)[0])
    yield case.name
    yield _exactness(able, case)
    yield ", ".join(_conditions(able)) or "-"
    yield "any share" if able.mirroring is Mirroring.SHARE else "-"
    yield "yes" if able.sticky else "-"
    yield "yes" if case.reasserts else "no: it is held"


def _exactness(able: Capabilities, case: RouterCase) -> str:
    if able.finest is None:
        return "all or nothing" if case.blue_green else "the number of pods"
    return f"{max(able.finest, case.finest) / 100:g} %"


def _conditions(able: Capabilities) -> Iterator[str]:
    parts: dict[str, Callable[[Capabilities], object]] = {
        "header": lambda one: one.headers,
        "cookie": lambda one: one.cookies,
        "path": lambda one: one.paths,
        "method": lambda one: one.methods or one.any_method,
    }
    return (name for name, has in parts.items() if has(able))


if __name__ == "__main__":
    PAGE.write_text(render(tell_all()), "utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
