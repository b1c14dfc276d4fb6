"""Whether the names that one part of a deploy file uses are defined in another, once each. Works on files that do
not fit the schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from strategies.places import Place
from strategies.problems import FileReport
from strategies.step_checks import all_analyses, all_steps
from strategies.suggestions import quote, suggest


def check_references(root: Place, say: FileReport) -> None:
    _check_targets(root, say)
    _check_lists_of_targets(root, say)
    _check_unique(root.items("analysis", "queries"), "query", say)
    _check_unique(root.items("webhooks"), "webhook", say)
    _check_queries(root, say)
    _check_webhooks(root, say)


# --- targets ----------------------------------------------------------------------------------------------------------


def _check_targets(root: Place, say: FileReport) -> None:
    strategies = [name for name, _ in root.entries("strategies")]
    places: dict[tuple[str, str], str] = {}
    for name, target in root.entries("targets"):
        if not name.strip() or not name.isprintable():
            say.error(target.key_mark, f"{quote(name)} cannot be the name of a target; use printable text")
        strategy = target.get("strategy")
        if strategy is not None and strategy.text is not None and strategy.text not in strategies:
            nothing = 'the file has no "strategies"; add it'
            advice = suggest(strategy.text, strategies, nothing)
            say.error(strategy.mark, f"the strategy {quote(strategy.text)} does not exist; {advice}")
        _check_place(name, target, places, say)
    _check_dependencies(root, say)


def _check_place(name: str, target: Place, places: dict[tuple[str, str], str], say: FileReport) -> None:
    account, namespace = target.get("account"), target.get("namespace")
    if account is None or namespace is None or account.text is None or namespace.text is None:
        return
    first = places.setdefault((account.text, namespace.text), name)
    if first != name:
        say.error(
            target.key_mark,
            f"the targets {quote(first)} and {quote(name)} are the same place, namespace {quote(namespace.text)} of "
            f"account {quote(account.text)}; give one of them another namespace or account",
        )


def _check_dependencies(root: Place, say: FileReport) -> None:
    targets = [name for name, _ in root.entries("targets")]
    needs: dict[str, list[tuple[str, Place]]] = {name: [] for name in targets}
    for name, target in root.entries("targets"):
        for needed in target.items("constraints", "dependsOn"):
            if needed.text is None:
                continue
            if needed.text in needs:
                needs[name].append((needed.text, needed))
            else:
                say.error(
                    needed.mark, f"the target {quote(needed.text)} does not exist; {suggest(needed.text, targets)}"
                )
    for cycle, closing in find_cycles(needs):
        say.error(closing.mark, f"the targets wait for each other: {_arrows(cycle)}; remove one of the dependencies")


def _arrows(cycle: list[str]) -> str:
    shown = cycle if len(cycle) <= 12 else [*cycle[:8], "...", *cycle[-3:]]
    return " -> ".join(shown)


def find_cycles(needs: dict[str, list[tuple[str, Place]]]) -> Iterator[tuple[list[str], Place]]:
    """Each cycle once, from the target that is named first, with the entry that closes it. Iterative, for chains of
    any length."""
    done: set[str] = set()
    for start in needs:
        trail = {start: iter(needs[start])} if start not in done else {}
        while trail:
            name, rest = next(reversed(trail.items()))
            following = next(rest, None)
            if following is None:
                done.add(name)
                del trail[name]
                continue
            needed, entry = following
            if needed in trail:
                names = list(trail)
                yield [*names[names.index(needed) :], needed], entry
            elif needed not in done:
                trail[needed] = iter(needs[needed])


def _check_lists_of_targets(root: Place, say: FileReport) -> None:
    targets = {name for name, _ in root.entries("targets")}
    if not targets:
        return
    for owner in (*root.items("manifests"), *root.items("trafficManagement")):
        for item in owner.items("targets"):
            _check_exists(item, targets, say)
    for item in root.items("targetFilters"):
        if (included := item.get("includeTarget")) is not None:
            _check_exists(included, targets, say)


def _check_exists(place: Place, targets: set[str], say: FileReport) -> None:
    if place.text is not None and place.text not in targets:
        say.error(place.mark, f"the target {quote(place.text)} does not exist; {suggest(place.text, targets)}")


# --- queries and webhooks ---------------------------------------------------------------------------------------------


def _check_unique(definitions: Iterable[Place], what: str, say: FileReport) -> None:
    seen: dict[str, Place] = {}
    for definition in definitions:
        name = definition.get("name")
        if name is None or name.text is None:
            continue
        first = seen.setdefault(name.text, name)
        if first is not name:
            at = f"{first.mark.line}:{first.mark.column}"
            say.error(name.mark, f"a second {what} is called {quote(name.text)}, the first at {at}; rename one of them")


def _by_name(definitions: Iterable[Place]) -> dict[str, Place]:
    named: dict[str, Place] = {}
    for definition in definitions:
        name = definition.get("name")
        if name is not None and name.text is not None:
            named.setdefault(name.text, definition)
    return named


def _check_queries(root: Place, say: FileReport) -> None:
    queries = _by_name(root.items("analysis", "queries"))
    nothing = 'the file has no "analysis.queries"; add it'
    for analysis in all_analyses(root):
        listed: set[str] = set()
        for query in analysis.items("queries"):
            if query.text is None:
                continue
            if query.text not in queries:
                say.error(
                    query.mark, f"the query {quote(query.text)} is not defined; {suggest(query.text, queries, nothing)}"
                )
            elif query.text in listed:
                say.error(query.mark, f"the query {quote(query.text)} stands in this step twice; remove one of the two")
            else:
                listed.add(query.text)
                _check_provider(root, analysis, query, queries[query.text], say)


def _check_provider(root: Place, analysis: Place, query: Place, definition: Place, say: FileReport) -> None:
    candidates = (
        definition.get("metricProviderName"),
        analysis.get("metricProviderName"),
        root.at("analysis", "defaultMetricProviderName"),
    )
    if all(candidate is None for candidate in candidates):
        say.error(
            query.mark,
            f"no metric provider is named for the query {quote(query.text or '')}; "
            'add "metricProviderName" to it, or "analysis.defaultMetricProviderName"',
        )


def _check_webhooks(root: Place, say: FileReport) -> None:
    webhooks = _by_name(root.items("webhooks"))
    nothing = 'the file has no "webhooks"; add it'
    for step, _ in all_steps(root):
        name = step.at("runWebhook", "name")
        if name is not None and name.text is not None and name.text not in webhooks:
            say.error(
                name.mark, f"the webhook {quote(name.text)} is not defined; {suggest(name.text, webhooks, nothing)}"
            )
