"""Measures every way to move traffic on real data planes, and writes the page about it.

python -m tests.wire [PAGE]      the page is docs/data-plane.md if none is named

Takes about twenty minutes. Ends with 1 if a request failed, a share is not what was asked for, or a story could not be told. The
part of the page about processes that stand still is written by `python -m tests.wire.troubles`, and stays as it is.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import structlog

from tests.e2e.controlplane.binaries import BinariesMissing
from tests.e2e.controlplane.processes import StartFailed
from tests.wire.describing import describe_machine
from tests.wire.figures import Measured
from tests.wire.ground import Ground, open_ground
from tests.wire.network import NetworkRefused
from tests.wire.page import write_page
from tests.wire.stories import Counts
from tests.wire.telling import measure_changes, measure_rollbacks, tell_stories
from tests.wire.trouble_page import troubles_of, with_troubles
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
    troubles = troubles_of(page.read_text("utf-8")) if page.exists() else ""
    written = write_page(measured, describe_machine(load))
    page.write_text(with_troubles(written, troubles) if troubles else written, "utf-8")
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
