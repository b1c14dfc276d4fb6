"""`headgate backup` and `headgate restore`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from store.postgres_place import PostgresPlace
from tests.cli.terminal import headgate
from tests.postgres.server import PASSWORD
from tests.store.test_backup import fill


def test_a_store_is_copied_and_put_back(tmp_path: Path) -> None:
    store, copy = tmp_path / "headgate.db", tmp_path / "monday"
    anyio.run(fill, store)
    said = headgate("backup", str(copy), "--store", str(store))
    assert (said.code, said.err) == (0, "")
    assert f"{copy} holds 1 releases, 1 of them unfinished" in said.out
    body = headgate("restore", str(copy), "--store", str(store), "-o", "json").json
    assert (body["store"], body["releases"], body["unfinished"]) == (str(store), 1, 1)
    assert Path(body["former"]).exists()
    told = headgate("restore", str(copy), "--store", str(store))
    assert "the next daemon takes its unfinished releases up where they stood then" in told.out
    store.rename(store.with_name("headgate.db-wal"))
    told = headgate("restore", str(copy), "--store", str(store))
    assert f"the log that was left of the store before it is kept as {store}.before-restore-" in told.out


def test_what_cannot_be_is_said_with_an_exit_code(tmp_path: Path) -> None:
    store, copy = tmp_path / "headgate.db", tmp_path / "monday"
    said = headgate("backup", str(copy), "--store", str(store))
    assert (said.code, said.out) == (2, "")
    assert "there is no store" in said.err
    copy.write_text("dear diary")
    said = headgate("restore", str(copy), "--store", str(store))
    assert (said.code, store.exists()) == (2, False)
    assert "is not an SQLite file" in said.err


def test_a_database_is_copied_by_its_own_tools_and_they_are_named(tmp_path: Path) -> None:
    url = "postgresql://headgate@db.example/headgate"
    said = headgate("backup", str(tmp_path / "monday"), "--store", url)
    assert (said.code, said.out) == (2, "")
    assert f"pg_dump --format=custom --schema=headgate --file={tmp_path / 'monday'} '{url}'" in said.err
    said = headgate("restore", str(tmp_path / "monday"), "--store", url)
    assert said.code == 2
    assert f"while no daemon runs, pg_restore --clean --if-exists --dbname='{url}' {tmp_path / 'monday'}" in said.err


def test_an_option_is_read_as_the_settings_are() -> None:
    said = headgate("serve", "--store", "postgresql://ada:hunter2@db.example/headgate")
    assert said.code == 2
    assert said.err.startswith("--store has a password in it")
    assert "hunter2" not in said.err


def test_a_store_is_moved_into_a_database(tmp_path: Path, postgres_place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "headgate.db"
    anyio.run(fill, store)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    body = headgate("move-store", str(store), postgres_place.url, "-o", "json").json
    assert (body["store"], body["releases"], body["unfinished"]) == (postgres_place.url, 1, 1)
    assert (store.exists(), Path(body["former"]).exists()) == (False, True)
    Path(body["former"]).rename(store)
    said = headgate("move-store", str(store), postgres_place.url)
    assert (said.code, store.exists()) == (2, True)
    assert "holds a store already; name an empty database" in said.err
    assert headgate("move-store", str(tmp_path / "none"), postgres_place.url).code == 2
    assert "is a path" in headgate("move-store", str(store), str(tmp_path / "other.db")).err
