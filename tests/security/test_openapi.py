"""The API's own description, and whether a daemon on the embedded cluster keeps to it whatever it is sent."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from adapters.http.openapi import LINES, OPERATIONS, PAGE, document, render
from adapters.settings import Address
from tests.http.stage import APPROVAL, Daemon, Stage, submission, token
from tests.page.stage import embedded_daemon

EXAMPLES = 25
SECRET = "the-ci-token"
_FOR_BROWSERS = ("/", "/ui", "/ui/", "/ui/assets/{name}", "/v1/previews/{rollout}/{service}/{token}/{tail}")


async def test_every_route_is_in_the_document(daemon: Daemon) -> None:
    routes = {
        (route.method, route.resource.canonical)
        for route in daemon.running.application.router.routes()
        if route.resource is not None and route.method != "HEAD" and route.resource.canonical not in _FOR_BROWSERS
    }
    assert routes == {(one.method, one.path) for one in OPERATIONS}


def test_what_is_kept_in_docs_is_current() -> None:
    assert PAGE.read_text("utf-8") == render(), "run: python -m adapters.http.openapi"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, tokens=(token("ci"),), listen=Address("127.0.0.1", 0))


async def test_it_is_served_to_everybody_and_nothing_else_is(daemon: Daemon) -> None:
    def ask(path: str, method: str) -> requests.Response:
        return requests.request(method, f"http://{daemon.address}{path}", json={}, timeout=10, stream=True)

    assert (await asyncio.to_thread(ask, "/v1/openapi.json", "GET")).json() == json.loads(json.dumps(document()))
    for one in OPERATIONS:
        path = one.path.replace("{", "").replace("}", "")
        assert ((await asyncio.to_thread(ask, path, one.method)).status_code != 401) is one.is_open, path


# --- whatever is sent --------------------------------------------------------------------------------------------------


@dataclass
class Served:
    url: str
    release: str


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """A daemon on the embedded cluster, in a thread of its own, with one release that waits for an answer."""
    stage = Stage(folder, tokens=(token("ci"),), listen=Address("127.0.0.1", 0))
    ready: concurrent.futures.Future[Served] = concurrent.futures.Future()
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    async def live() -> None:
        asked = submission(APPROVAL, account="embedded")
        async with embedded_daemon(stage, asked) as daemon:
            accepted = await daemon.client.submit(asked)
            ready.set_result(Served(f"http://{daemon.address}", accepted.release.id))
            await over.wait()

    def run() -> None:
        try:
            loop.run_until_complete(live())
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise
        finally:
            loop.close()

    thread = threading.Thread(target=run, name="daemon")
    thread.start()
    try:
        yield ready.result(30)
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(over.set)
        thread.join(30)


CHECKS = [
    checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    ignored_auth,
]


@pytest.mark.timeout(240)
def test_whatever_is_sent_is_answered_as_described(tmp_path: Path) -> None:
    """Bodies and parameters as the document has them, and others; with a token, and without."""
    config = SchemathesisConfig.from_dict({"generation": {"database": "none"}})
    schema = schemathesis.openapi.from_dict(document(), config=config)
    with served(tmp_path) as daemon:
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            if any(LINES in one.get("content", {}) for one in operation.definition.raw["responses"].values()):
                continue  # It never ends; tests/http/test_watches.py tells of it.
            for mode in GenerationMode:
                _try(daemon, operation, mode)


def _try(daemon: Served, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: schemathesis.Case[Any]) -> None:
        if "release" in case.path_parameters and len(str(case.path_parameters["release"])) % 2:
            case.path_parameters["release"] = daemon.release
        case.call_and_validate(
            base_url=daemon.url, headers={"Authorization": f"Bearer {SECRET}"}, checks=CHECKS, timeout=30
        )

    if mode is GenerationMode.NEGATIVE:
        with suppress(Unsatisfiable):  # Where nothing is sent, nothing can be sent wrongly.
            attempt()
    else:
        attempt()
