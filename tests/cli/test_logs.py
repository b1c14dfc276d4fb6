"""The daemon's log holds no secret, in whichever format."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adapters.settings import LogFormat

SECRET = "planted-secret"
PROGRAM = """
import structlog
from adapters.cli.logs import configure_logs
from adapters.settings import LogFormat, LogLevel

def fail(token):
    header = "Bearer " + token
    raise RuntimeError(f"something unforeseen, with {len(header)} letters")

configure_logs(LogLevel.INFO, LogFormat(FORM))
try:
    fail("-".join(["planted", "secret"]))
except RuntimeError:
    structlog.get_logger().exception("rollout.defect")
"""


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_traceback_says_where_and_what_but_no_value(form: LogFormat) -> None:
    program = PROGRAM.replace("FORM", repr(form.value))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "something unforeseen" in done.stderr and "fail" in done.stderr
    assert SECRET not in done.stderr
