"""Where the definitions of other projects' kinds come from, with a Go that only pretends: nothing is fetched here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.builders import definition
from tests.e2e.controlplane.binaries import BinariesMissing
from tests.e2e.controlplane.definitions import EXPERIMENTAL_GATEWAY_API, SOURCES, Source, load_definitions
from tests.e2e.test_binaries import put_go

SHIPS = Source("sea.example.com/ships@v1.2.3", "h1:as it was when this was written", ("crds/*.yaml",))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, digest: str = SHIPS.digest, **more: str) -> Path:
    """A module with one definition, as `go mod download -json` tells of it. Returns what Go notes of the questions."""
    crds = folder / "module" / "crds"
    crds.mkdir(parents=True)
    crds.joinpath("ship.yaml").write_text(yaml.safe_dump_all([definition("Ship"), {"kind": "ValidatingAdmissionPolicy"}, None]))
    told = folder / "told.json"
    told.write_text(json.dumps({"Dir": str(crds.parent), "Sum": digest} | more))
    return put_go(folder, monkeypatch, f"cat {told}")


@pytest.mark.process
def test_a_definition_is_fetched_once_and_then_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = publish(tmp_path, monkeypatch)
    for _ in range(2):
        (found,) = load_definitions(SHIPS)
        assert found["metadata"]["name"] == "ships.sea.example.com"
    assert asked.read_text() == f"mod download -json {SHIPS.module}\n"


@pytest.mark.process
def test_a_module_that_has_another_content_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, monkeypatch, "h1:something else")
    for _ in range(2):
        with pytest.raises(BinariesMissing, match=r"ships@v1\.2\.3 has come as h1:something else, and not as h1:as it was"):
            load_definitions(SHIPS)


@pytest.mark.process
def test_what_go_says_of_a_module_that_it_cannot_get_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "told.json").write_text(json.dumps({"Error": "403 Forbidden"}))
    put_go(tmp_path, monkeypatch, f"cat {tmp_path / 'told.json'}; exit 1")
    with pytest.raises(BinariesMissing, match=r"ships@v1\.2\.3 cannot be fetched: 403 Forbidden"):
        load_definitions(SHIPS)


def test_every_source_says_its_version_and_its_digest() -> None:
    for source in (*SOURCES, EXPERIMENTAL_GATEWAY_API):
        assert "@v" in source.module
        assert source.digest.startswith("h1:")
        assert len(source.digest) == 47
