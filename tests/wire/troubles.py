"""Tells the stories of processes that stand still or go away, and writes their part of the page.

python -m tests.wire.troubles [PAGE]      the page is docs/data-plane.md if none is named

Takes about twenty minutes. Ends with 1 if a request failed, or a story could not be told.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog

from tests.e2e.controlplane.binaries import BinariesMissing
from tests.e2e.controlplane.processes import StartFailed
from tests.wire.__main__ import PAGE, say
from tests.wire.describing import describe_machine
from tests.wire.enduring import Seconds, endure
from tests.wire.ground import open_ground
from tests.wire.network import NetworkRefused
from tests.wire.trouble_page import with_troubles, write_troubles
from tests.wire.ways import WAYS


def main(arguments: Sequence[str]) -> int:
    if len(arguments) > 1 or any(one.startswith("-") for one in arguments):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    page = Path(arguments[0]) if arguments else PAGE
    folder, load = Path(tempfile.mkdtemp(prefix="headgate-wire-sites-")), os.getloadavg()[0]
    try:
        with open_ground() as ground:
            endured = asyncio.run(endure(ground, WAYS, folder, Seconds(), say))
    except (NetworkRefused, BinariesMissing, StartFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    page.write_text(with_troubles(page.read_text("utf-8"), write_troubles(endured, describe_machine(load))), "utf-8")
    for one in endured.measured:
        if one.broken:
            say(f"{one.way} was not told to its end: {one.broken}")
    return 0 if all(one.is_well for one in endured.measured) else 1


if __name__ == "__main__":
    # As `python -m tests.wire`: whatever was started ends, and its folders go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    sys.exit(main(sys.argv[1:]))
