"""A deploy file in the making: the parts that an import finds, and the document that they become. Knows nothing of Argo
or Flagger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from strategies.importing.go_durations import amount_and_unit, duration, whole_seconds
from strategies.importing.writing import Commented, Flow, Value, write

ACCOUNT = "fill-in-account"
NAMESPACE = "default"
MANIFESTS = "fill-in/manifests.yaml"
_LONGEST_SERVICE = 63

Part = dict[str, Value]


@dataclass(slots=True)
class Step:
    """A step or condition, with comments, and the input's step that it comes from."""

    body: Part
    origin: int = -1
    above: tuple[str, ...] = ()
    beside: str = ""

    @property
    def is_approval(self) -> bool:
        return self.body == approval()

    def written(self) -> Value:
        return Commented(self.body, above=self.above, beside=self.beside) if self.above or self.beside else self.body


@dataclass(slots=True)
class Measured:
    """A query that an analysis asks, and how often."""

    query: str
    interval: float = 60.0
    count: int | None = None
    delay: float = 0.0
    budget: int = 0
    """How many measurements beyond the limits are forgiven."""
    context: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Draft:
    application: str
    account: str | None
    namespace: str | None
    strategy: str = "canary"
    steps: list[Step] = field(default_factory=list)
    last_words: list[str] = field(default_factory=list)
    """Comments below the last step."""
    redirect_after: list[Step] = field(default_factory=list)
    shut_down_after: list[Step] = field(default_factory=list)
    background: list[Part] = field(default_factory=list)
    is_blue_green: bool = False
    before: list[Step] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)
    config: Part = field(default_factory=dict)
    traffic: Part = field(default_factory=dict)
    traffic_words: list[str] = field(default_factory=list)
    webhooks: dict[str, Part] = field(default_factory=dict)
    queries: dict[str, Part] = field(default_factory=dict)
    manifests: list[Value] = field(default_factory=list)

    def add_query(self, name: str, body: Part) -> str:
        """The name under which it is defined: another one when the name is taken by another query."""
        return _add(self.queries, name, body)

    def add_webhook(self, name: str, body: Part) -> str:
        return _add(self.webhooks, name, body)

    def write(self, header: Sequence[str]) -> str:
        target = _target_name(self.namespace)
        settings: Part = {
            "account": self.account
            if self.account is not None
            else Commented(ACCOUNT, beside="FILL IN: as the daemon's settings name the cluster"),
            "namespace": self.namespace
            if self.namespace is not None
            else Commented(NAMESPACE, beside="FILL IN: the input names none"),
            "strategy": self.strategy,
        }
        constraints: Part = {}
        if self.before:
            constraints["beforeDeployment"] = [step.written() for step in self.before]
        if self.after:
            constraints["afterDeployment"] = [step.written() for step in self.after]
        if constraints:
            settings["constraints"] = constraints
        document: Part = {
            "version": Commented("v1", above=header),
            "kind": "kubernetes",
            "application": self.application,
        }
        if self.config:
            document["deploymentConfig"] = self.config
        document["targets"] = {target: settings}
        document["manifests"] = self.manifests
        document["strategies"] = {self.strategy: self._strategy()}
        if self.queries:
            document["analysis"] = {"queries": list(self.queries.values())}
        if self.webhooks:
            document["webhooks"] = list(self.webhooks.values())
        if self.traffic:
            document["trafficManagement"] = Commented([self.traffic], above=self.traffic_words)
            return write(document)
        return write(Commented(document, below=self.traffic_words))

    def _strategy(self) -> Part:
        if not self.is_blue_green:
            steps = Commented([step.written() for step in self.steps], below=self.last_words)
            canary: Part = {"steps": steps}
            if self.background:
                canary["backgroundAnalysis"] = self.background
            return {"canary": canary}
        conditions: Part = {}
        if self.redirect_after:
            conditions["redirectTrafficAfter"] = [step.written() for step in self.redirect_after]
        if self.shut_down_after:
            conditions["shutDownOldVersionAfter"] = [step.written() for step in self.shut_down_after]
        if self.background:
            conditions["backgroundAnalysis"] = self.background
        return {"blueGreen": conditions}


def _target_name(namespace: str | None) -> str:
    return namespace if namespace is not None else NAMESPACE


def _add(taken: dict[str, Part], name: str, body: Part) -> str:
    base = "".join(letter for letter in name if letter.isprintable()).strip()[:200] or "unnamed"
    candidate, number = base, 1
    while candidate in taken:
        if json.dumps({**taken[candidate], "name": ""}, default=str) == json.dumps({"name": "", **body}, default=str):
            return candidate
        number += 1
        candidate = f"{base}-{number}"
    taken[candidate] = {"name": candidate, **body}
    return candidate


# --- steps -------------------------------------------------------------------------------------------------------------


def set_weight(percent: float) -> Part:
    return {"setWeight": Flow({"weight": percent})}


def pause(seconds: float) -> Part:
    return {"pause": duration(seconds)}


def approval() -> Part:
    return {"pause": Flow({"untilApproved": True})}


def run_webhook(name: str) -> Part:
    return {"runWebhook": Flow({"name": name})}


def analyses(measured: Sequence[Measured]) -> list[Part]:
    """One analysis step for each rhythm in which something is measured, in the order of the delays."""
    groups: dict[tuple[float, float, int, int], list[Measured]] = {}
    for one in sorted(measured, key=lambda item: item.delay):
        groups.setdefault((one.delay, one.interval, one.count or 1, one.budget), []).append(one)
    steps: list[Part] = []
    waited = 0.0
    for (delay, interval, count, budget), members in groups.items():
        if delay > waited:
            steps.append(pause(delay - waited))
            waited = delay
        steps.append(analysis(members, interval, count, budget))
    return steps


def analysis(members: Sequence[Measured], interval: float, runs: int, budget: int) -> Part:
    """`budget` is how many of the runs are forgiven; with one run, that run decides."""
    body = _rhythm(interval)
    body["numberOfJudgmentRuns"] = min(max(runs, 1), 10_000)
    body["queries"] = _queries(members)
    if runs > 1 and budget:
        body["failureBudget"] = budget
    elif runs > 1:
        body["abortOnFailedJudgment"] = True
    return {"analysis": body | _context(members)}


def background(measured: Sequence[Measured]) -> list[Part]:
    """One for each rhythm in which something is measured beside the steps."""
    groups: dict[tuple[float, int], list[Measured]] = {}
    for one in measured:
        groups.setdefault((one.interval, one.budget), []).append(one)
    return [
        _rhythm(interval) | {"queries": _queries(members)} | ({"failureBudget": budget} if budget else {}) | _context(members)
        for (interval, budget), members in groups.items()
    ]


def _rhythm(interval: float) -> Part:
    amount, unit = amount_and_unit(whole_seconds(interval, least=1))
    return {"interval": amount, "units": unit}


def _queries(members: Sequence[Measured]) -> list[Value]:
    return list(dict.fromkeys(one.query for one in members))


def _context(members: Sequence[Measured]) -> Part:
    context: Part = {key: value for one in members for key, value in one.context.items()}
    return {"context": context} if context else {}


# --- names -------------------------------------------------------------------------------------------------------------


def service_name(root: str, suffix: str) -> str:
    """The name of a Service beside `root`, cut to what a Service may be called."""
    return root[: _LONGEST_SERVICE - len(suffix) - 1].rstrip("-") + f"-{suffix}"
