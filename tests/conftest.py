"""What all tests share."""

from __future__ import annotations

import asyncio
import logging
import signal

import structlog
from hypothesis import HealthCheck, settings

from tests.e2e.controlplane.fixtures import pytest_runtest_setup as pytest_runtest_setup
from tests.e2e.controlplane.fixtures import real_control_plane as real_control_plane
from tests.postgres.fixtures import postgres_place as postgres_place
from tests.postgres.fixtures import postgres_server as postgres_server

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

# What a clock on the wall says of a drawn example is about the machine: the first text of all is drawn from tables that are
# still to be made, and the cores are shared.
settings.register_profile("headgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headgate")

# On Python 3.11, asking for the current loop where none was ever set makes one, and pytest-asyncio asks and forgets it: its
# sockets are then found unclosed in whichever test the garbage collector runs. Once "none" has been set, none is made.
asyncio.set_event_loop(None)

# A run in the background of a script ignores what a keyboard sends, and all programs that it starts inherit that; those of the
# tests that interrupt one would wait for ever.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
