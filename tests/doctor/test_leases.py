"""What the doctor says of the Lease and of the database that daemons share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.doctor.findings import Level
from adapters.doctor.leases import LeasePlace
from adapters.embedded.resources import LEASES, NAMESPACES
from adapters.kubernetes.permissions import Permission, Verb
from store.postgres_place import PostgresPlace
from tests.cli.terminal import headgate
from tests.doctor.test_examining import PLAN, Patient, patient
from tests.postgres.server import PASSWORD

PLACE = LeasePlace("embedded", "tools", "headgate")


async def findings(one: Patient) -> list[tuple[Level, str]]:
    examination = replace(one.examination, lease=PLACE)
    _, lease = await examination.examine(["embedded"], [])
    assert lease.subject == "lease tools/headgate (account embedded)"
    return [(found.level, found.text) for found in lease.findings]


async def test_who_has_the_lease_is_told() -> None:
    async with patient() as one:
        one.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tools"}})
        assert await findings(one) == [
            (Level.OK, "the account may take and renew it"),
            (Level.NOTE, "nobody has ever taken it; the first daemon makes it"),
        ]
        spec = {"holderIdentity": "daemon 1", "leaseTransitions": 3}
        metadata = {"name": "headgate", "namespace": "tools"}
        one.storage.create(LEASES, {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec})
        assert (await findings(one))[1] == (Level.OK, "daemon 1 has it, 3 changes of hands so far")


async def test_a_namespace_that_is_not_there_is_said_before_a_daemon_waits_for_ever() -> None:
    async with patient() as one:
        one.install()
        sentence = "there is no namespace tools, so no daemon can lead; make it: kubectl create namespace tools"
        assert (await findings(one))[1] == (Level.PROBLEM, sentence)
        one.embedded.server.access.restrict((await replace(one.examination, lease=PLACE).roles([PLAN]))["embedded"])
        level, text = (await findings(one))[1]
        assert (level, "if there is a namespace tools, which this account may not look for" in text) == (Level.NOTE, True)


async def test_the_rights_to_it_are_in_a_role_of_its_namespace_and_missed_one_by_one() -> None:
    async with patient() as one:
        one.install()
        roles = (await replace(one.examination, lease=PLACE).roles([PLAN]))["embedded"]
        (role,) = [found for found in roles if found["metadata"]["namespace"] == "tools"]
        leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
        assert role["rules"] == [
            {**leases, "resourceNames": ["headgate"], "verbs": ["get", "update"]},
            {**leases, "verbs": ["create"]},
        ]
        one.embedded.server.access.restrict(roles)
        assert (await findings(one))[0] == (Level.OK, "the account may take and renew it")
        one.embedded.server.access.restrict([found for found in roles if found is not role])
        missed = [text.partition(": ")[0] for level, text in await findings(one) if level is Level.PROBLEM]
        assert sorted(missed) == sorted(
            f"the account may not {permission}"
            for permission in (
                Permission("coordination.k8s.io", "leases", Verb.CREATE, "tools"),
                Permission("coordination.k8s.io", "leases", Verb.GET, "tools", "headgate"),
                Permission("coordination.k8s.io", "leases", Verb.UPDATE, "tools", "headgate"),
            )
        )


def test_the_store_is_looked_at_without_being_made(
    tmp_path: Path, postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"store": postgres_place.url, "accounts": {"nowhere": {"kubeconfig": "none"}}}
    (tmp_path / "headgate.yaml").write_text(json.dumps(settings))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    for _ in range(2):
        sections = headgate("doctor", "--config", str(tmp_path / "headgate.yaml"), "-o", "json").json["sections"]
        assert [section["subject"] for section in sections] == ["account nowhere", f"store {postgres_place.url}"]
        (found,) = sections[1]["findings"]
        assert found["level"] == "ok"
        assert found["text"].endswith("answers; the first daemon makes the store")
    monkeypatch.setenv("PGPASSWORD", PASSWORD + "-of-yesterday")
    said = headgate("doctor", "--config", str(tmp_path / "headgate.yaml"))
    assert "password authentication failed" in said.out
    assert PASSWORD not in said.out + said.err
