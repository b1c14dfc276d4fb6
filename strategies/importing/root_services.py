"""Names of the Services that a rollout makes beside a root Service, where the usual ones are not free. Pure."""

from __future__ import annotations

from strategies.importing.draft import Part, service_name
from strategies.importing.manifests import Manifests
from strategies.kubernetes_kinds import SERVICE


def name_what_is_made(root: str, block: Part, stable: str | None, manifests: Manifests) -> None:
    """Other names where the usual ones are taken by Services that stay, or are too long for a Service."""
    taken = {root, str(block.get("canaryServiceName", "")), *([stable] if stable is not None else [])}
    taken |= {name for kind, name in manifests.kept if kind == SERVICE}
    for field, suffix in (("canaryServiceName", "canary"), ("stableServiceName", "stable")):
        if field in block:
            continue
        usual = f"{root}-{suffix}"
        if usual not in taken and len(usual) <= 63:
            taken.add(usual)
            continue
        if field == "canaryServiceName":  # Named, it has to exist; so the one that is shipped under the usual name goes.
            manifests.leave_out(SERVICE, usual)
            if len(usual) <= 63:
                continue
        name, number = service_name(root, f"{suffix}-rollout"), 1
        while name in taken:
            number += 1
            name = service_name(root, f"{suffix}-rollout-{number}")
        block[field] = name
        taken.add(name)
