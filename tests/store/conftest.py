"""The kinds of store that one story is told on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres.server import PostgresServer
from tests.store.stand import PostgresStand, SqliteStand, Stand


@pytest.fixture(params=["sqlite", "postgres"])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Stand:
    if request.param == "sqlite":
        return SqliteStand(tmp_path / "headgate.db")
    stand: PostgresStand = request.getfixturevalue("postgres_stand")
    return stand


@pytest.fixture
def postgres_stand(postgres_server: PostgresServer) -> PostgresStand:
    return PostgresStand(postgres_server, postgres_server.place(postgres_server.make_database()))
