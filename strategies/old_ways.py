"""What a deploy file still says in an old way, or in a way that means nothing here."""

from __future__ import annotations

from strategies.places import Place
from strategies.problems import FileReport
from strategies.suggestions import quote


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
        _find_agent(webhook, say)
        name = webhook.get("name")
        if webhook.is_mapping and webhook.get("method") is None and name is not None:
            say.warn(
                name.mark,
                f'the webhook {quote(name.text or "")} names no "method", so it is called with POST; say which',
            )


def _find_agent(webhook: Place, say: FileReport) -> None:
    """There are no agents in the clusters, by design: what the daemon reaches, it calls."""
    mode = webhook.get("networkMode")
    if mode is not None and (mode.text or "").lower() == "remotenetworkagent":
        say.warn(
            mode.mark,
            "Headgate has no agents, so remoteNetworkAgent means the same as direct: the daemon itself calls the address, and "
            "has to reach it; write direct",
        )


