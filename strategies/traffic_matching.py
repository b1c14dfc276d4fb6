"""Which Deployment stands behind a root Service: told by the Service's selector when the Service is shipped, or else
because there is only one. Pure; knows nothing of YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strategies.suggestions import listed, quote


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    name: str
    selector: Mapping[str, str]
    ports: frozenset[int]
    headless: bool = False
    external: bool = False


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    name: str
    labels: Mapping[str, str]
    """The labels of its pods."""


@dataclass(frozen=True, slots=True)
class NoMatch:
    message: str


def find_workload(
    root_service: str, deployments: Sequence[DeploymentFacts], services: Mapping[str, ServiceFacts]
) -> str | NoMatch:
    """The name of the Deployment that a root Service leads to, or why there is none."""
    service = services.get(root_service)
    if service is None:
        return _find_only(root_service, deployments)
    if service.external:
        return NoMatch(
            f"the Service {quote(root_service)} is an ExternalName, which has no pods to choose from; name another"
        )
    if service.headless:
        return NoMatch(
            f"the Service {quote(root_service)} is headless (clusterIP: None), and traffic to it cannot be split; name "
            "another"
        )
    if not service.selector:
        return NoMatch(f"the Service {quote(root_service)} has no selector, so no Deployment stands behind it; add one")
    matching = [item.name for item in deployments if service.selector.items() <= item.labels.items()]
    if len(matching) == 1:
        return matching[0]
    if matching:
        return NoMatch(
            f"the Service {quote(root_service)} selects the pods of the Deployments {listed(matching)}; make its "
            "selector or their labels tell them apart"
        )
    shown = ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))
    return NoMatch(
        f"the Service {quote(root_service)} selects {shown}, which are not the labels of a Deployment's pods here "
        f"({listed([item.name for item in deployments])}); correct its selector, or name another Service"
    )


def _find_only(root_service: str, deployments: Sequence[DeploymentFacts]) -> str | NoMatch:
    if len(deployments) == 1:
        return deployments[0].name
    return NoMatch(
        f"the Service {quote(root_service)} is not among the manifests, so which of the Deployments "
        f"{listed([item.name for item in deployments])} stands behind it cannot be told; add the Service to the "
        "manifests"
    )


def missing_ports(root: ServiceFacts, backend: ServiceFacts) -> list[int]:
    """The port numbers of the root that a backend lacks: traffic to them would be lost (SMI traffic split
    specification)."""
    return sorted(root.ports - backend.ports)
