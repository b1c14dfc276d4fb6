"""A real Prometheus beside the scraper, both looking at the same page: the answers agree, and its errors are
understood.

Needs a `prometheus` on the PATH; Debian's package holds it (`apt-get download prometheus`, `dpkg-deb -x`).
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web

from adapters.metrics.endpoint import Endpoint
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.metrics.prometheus import PrometheusProvider
from adapters.metrics.scrape import ScrapeProvider
from engine.clock import SystemClock
from tests.metrics.scripted import serving

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(PROMETHEUS is None, reason="needs prometheus on the PATH"),
]


async def steady_traffic(_: web.Request) -> web.Response:
    """100 requests a second: every fifth fails, half of them take less than 0.1 s and all less than 0.3 s."""
    count = int(time.monotonic() * 100)
    return web.Response(
        text=f'requests_total{{code="200"}} {count - count // 5}\n'
        f'requests_total{{code="503"}} {count // 5}\n'
        f'seconds_bucket{{le="0.1"}} {count // 2}\n'
        f'seconds_bucket{{le="0.3"}} {count}\n'
        f'seconds_bucket{{le="+Inf"}} {count}\n'
        "queue 3\n"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def prometheus(session: aiohttp.ClientSession, folder: Path, target: str) -> AsyncIterator[str]:
    assert PROMETHEUS is not None
    jobs = [{"job_name": "pods", "static_configs": [{"targets": [target.removeprefix("http://")]}]}]
    settings = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": jobs}
    (folder / "prometheus.yaml").write_text(json.dumps(settings))
    address = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command = [PROMETHEUS, *options, f"--web.listen-address={address}", "--log.level=error"]
    async with await anyio.open_process(command, stdout=None, stderr=None) as process:
        try:
            with anyio.fail_after(20.0):
                while not await is_ready(session, f"http://{address}/-/ready"):
                    await anyio.sleep(0.02)
            yield f"http://{address}"
        finally:
            process.terminate()


async def is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def last_seconds(text: str, seconds: float = 60.0) -> Query:
    now = datetime.now(UTC)
    return Query(text, now - timedelta(seconds=seconds), now)


async def test_both_providers_see_the_same_traffic_and_the_real_errors_are_understood(tmp_path: Path) -> None:
    async with (
        aiohttp.ClientSession() as session,
        serving(steady_traffic) as target,
        prometheus(session, tmp_path, target) as address,
        ScrapeProvider(session, lambda: [Endpoint(f"{target}/metrics")], SystemClock(), interval_s=0.2) as scraped,
    ):
        asked = PrometheusProvider(session, address, SystemClock())

        async def ask(text: str) -> Outcome:
            return await asked.measure(last_seconds(text))

        scraped.prepare(['ratio(requests_total{code="503"}, requests_total)', "rate(requests_total)"])
        with anyio.fail_after(20.0):
            while (await ask("sum(rate(requests_total[3s])) > 90")).kind is not OutcomeKind.VALUE:
                await anyio.sleep(0.05)

        ratio = await ask('sum(rate(requests_total{code="503"}[3s])) / sum(rate(requests_total[3s]))')
        assert ratio.value == pytest.approx(0.2, abs=0.02)
        own = await scraped.measure(last_seconds('ratio(requests_total{code="503"}, requests_total)'))
        assert own.value == pytest.approx(0.2, abs=0.02), own
        assert (await scraped.measure(last_seconds("rate(requests_total)"))).value == pytest.approx(100.0, rel=0.1)

        quantile = await ask("histogram_quantile(0.75, sum(rate(seconds_bucket[3s])) by (le))")
        assert quantile.value == pytest.approx(0.2, abs=0.02)

        assert (await ask("queue")).value == 3.0
        assert (await ask("scalar(queue)")).value == 3.0
        assert (await ask("requests_total")).kind is OutcomeKind.SEVERAL_SERIES
        assert (await ask("absent_total")).kind is OutcomeKind.NO_DATA
        assert (await ask("sum(queue) / 0")).kind is OutcomeKind.NOT_A_NUMBER
        assert "around the range" in (await ask("queue[1m]")).detail
        assert "ask for a number" in (await ask('"text"')).detail
        mistake = await ask("sum(rate(queue[1m])")
        assert mistake.kind is OutcomeKind.ERROR
        assert "400. correct the query. It says: bad_data: " in mistake.detail
        assert "1:20: parse error: unclosed left parenthesis" in mistake.detail
        conflict = await ask("requests_total + on() requests_total")
        assert "422. the query cannot be carried out. It says: execution: found duplicate series" in conflict.detail
        elsewhere = PrometheusProvider(session, f"{address}/graph", SystemClock())
        assert "root of Prometheus?" in (await elsewhere.measure(last_seconds("queue"))).detail
