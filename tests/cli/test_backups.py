"""`headgate backup` and `headgate restore`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import anyio

from tests.cli.terminal import headgate
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


def test_what_cannot_be_is_said_with_an_exit_code(tmp_path: Path) -> None:
    store, copy = tmp_path / "headgate.db", tmp_path / "monday"
    said = headgate("backup", str(copy), "--store", str(store))
    assert (said.code, said.out) == (2, "")
    assert "there is no store" in said.err
    copy.write_text("dear diary")
    said = headgate("restore", str(copy), "--store", str(store))
    assert (said.code, store.exists()) == (2, False)
    assert "is not an SQLite file" in said.err
