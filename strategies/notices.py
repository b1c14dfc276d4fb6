"""What a deploy file asks for that is understood but not yet carried out, and what it still says in an old way.

A notice blocks a run when leaving the behaviour out would do something else than the file says.
"""

from __future__ import annotations

from collections.abc import Iterator

from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import quote

NOT_YET = "accepted, not yet carried out"


def find_notices(root: Place, say: FileReport) -> None:
    _find_in_strategies(root, say)
    _find_in_webhooks(root, say)


def find_old_ways(root: Place, say: FileReport) -> None:
    """Warnings about fields that mean nothing any more, or that have a better form."""
    if (overrides := root.get("contextOverrides")) is not None:
        say.warn(overrides.key_mark, '"contextOverrides" is deprecated; move its variables to "context"')
    if (files := root.get("files")) is not None:
        say.warn(files.key_mark, '"files" is ignored, manifests are read from disk; remove it')
    keeps = root.at("deploymentConfig", "keepDeploymentObject")
    if keeps is not None and keeps.value is False:
        say.warn(
            keeps.mark,
            "keepDeploymentObject: false means the same as true here, the Deployment is always kept; remove it",
        )
    for _, strategy in root.entries("strategies"):
        for field in ("activeService", "previewService"):
            if (service := strategy.at("blueGreen", field)) is not None:
                better = f"trafficManagement[].kubernetes[].{field}"
                say.warn(service.key_mark, f'"{field}" is deprecated here; move it to "{better}"')
    for webhook in root.items("webhooks"):
        name = webhook.get("name")
        if webhook.is_mapping and webhook.get("method") is None and name is not None:
            say.warn(
                name.mark,
                f'the webhook {quote(name.text or "")} names no "method", so it is called with POST; say which',
            )


def _users(root: Place, strategy: str) -> tuple[str, ...]:
    """The targets that use a strategy."""
    return tuple(
        name
        for name, target in root.entries("targets")
        if (used := target.get("strategy")) is not None and used.text == strategy
    )


def _find_in_strategies(root: Place, say: FileReport) -> None:
    for name, strategy in root.entries("strategies"):
        users = _users(root, name)
        for step in _steps(strategy):
            if (exposed := step.get("exposeServices")) is not None:
                say.notice(
                    exposed.key_mark,
                    f"exposeServices: {NOT_YET}; {_consequence(users)}",
                    blocks_run=bool(users),
                    targets=users,
                )


def _consequence(users: tuple[str, ...]) -> str:
    if not users:
        return "no target uses this strategy, so the file can be run"
    return "the file can be checked, but not run"


def _steps(strategy: Place) -> Iterator[Place]:
    yield from strategy.items("canary", "steps")
    yield from strategy.items("blueGreen", "redirectTrafficAfter")
    yield from strategy.items("blueGreen", "shutDownOldVersionAfter")


def _find_in_webhooks(root: Place, say: FileReport) -> None:
    for webhook in root.items("webhooks"):
        mode = webhook.get("networkMode")
        if mode is not None and (mode.text or "").lower() == "remotenetworkagent":
            say.notice(mode.mark, f"remoteNetworkAgent: {NOT_YET}; the address is called directly", blocks_run=False)
