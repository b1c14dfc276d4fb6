"""One server for all tests of a run, a database for each that asks for one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from store.postgres_place import PostgresPlace
from tests.postgres.server import PostgresServer, find_binaries, run_postgres

REQUIRE_VARIABLE = "HEADGATE_REQUIRE_POSTGRES"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        message = "there is no PostgreSQL here; install one (apt-get install postgresql)"
        assert os.environ.get(REQUIRE_VARIABLE) != "1", message
        pytest.skip(message)
    with run_postgres(binaries) as server:
        yield server


@pytest.fixture
def postgres_place(postgres_server: PostgresServer) -> PostgresPlace:
    """An empty database."""
    return postgres_server.place(postgres_server.make_database())
