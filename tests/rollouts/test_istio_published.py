"""The Istio file in the published shape, run as it stands on the objects that it relies on."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from adapters.embedded.rehearsal import install_previous
from engine.events import Command, CommandKind
from engine.model import ReleasePlan, ReleaseStatus, State
from strategies.deployfile import compile_release, load_deploy_file
from tests.rollouts.istio_objects import Meshed
from tests.rollouts.stage import stage

PUBLISHED = Path(__file__).parent.parent / "strategies" / "published" / "istio.json"


def published() -> ReleasePlan:
    """Only the account is called otherwise here."""
    plan = compile_release(load_deploy_file(PUBLISHED))
    assert isinstance(plan, ReleasePlan), plan
    return replace(plan, targets=tuple(replace(target, account="embedded", settle_seconds=0.05) for target in plan.targets))


async def test_the_published_file_is_carried_out(tmp_path: Path) -> None:
    plan = published()
    async with stage(tmp_path) as told:
        install_previous(told.embedded, plan.targets[0])
        await told.until(lambda: told.status("fleet", "fleet", "availableReplicas") == 6)
        mesh = Meshed(told)
        before = [told.storage.get(mesh.kind(kind), "fleet", "fleet")["spec"] for kind in ("VirtualService", "DestinationRule")]
        await told.submit(plan)
        await told.until_state(State.PAUSING, "r1.prod")
        (route,) = told.storage.get(mesh.kind("VirtualService"), "fleet", "fleet")["spec"]["http"]
        assert [(one["destination"]["subset"], one["weight"]) for one in route["route"]] == [("active", 90), ("canary", 10)]
        await told.engine.command("r1", Command(CommandKind.SKIP, by="ada"))
        assert (await told.until_ended()).status is ReleaseStatus.SUCCEEDED
        after = [told.storage.get(mesh.kind(kind), "fleet", "fleet")["spec"] for kind in ("VirtualService", "DestinationRule")]
        assert after == before
        (version,) = {str(pod["spec"]["containers"][0]["image"]) for pod in told.pods("fleet")}
        assert version.endswith("fleet:2.4.1")
