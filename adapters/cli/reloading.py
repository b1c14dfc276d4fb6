"""The settings in force, and what of them can change while the daemon runs: at a SIGHUP the file is read again.

A file with mistakes changes nothing. What opens something (the store, sockets, clusters, metric providers) holds until the
next start, and the log says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from adapters.blocking import run_blocking
from adapters.cli.logs import configure_logs
from adapters.cli.systemd import tell_systemd
from adapters.settings import AccountSettings, Settings
from adapters.settings_reader import SettingsInvalid

log = structlog.get_logger()

_FIELDS_AT_ONCE = (
    "tokens", "secrets", "webhooks", "commands", "limits", "windows", "freezes", "deploy_folders", "manifest_folders",
    "retention", "log",
)  # fmt: skip
_FIELDS_AT_START = ("store", "store_password", "socket", "listen", "tls", "public_url", "high_availability", "metric_providers")
_ACCOUNT_FIELDS_AT_ONCE = ("limit", "windows", "freezes")


@dataclass(frozen=True, slots=True)
class Change:
    """What a look at the file came to, by the names that stand there."""

    at_once: tuple[str, ...]
    at_restart: tuple[str, ...]
    """Different in the file from what this daemon was started with, and not in force."""


class LiveSettings:
    """The settings in force, and those who have to know when they change."""

    def __init__(self, settings: Settings) -> None:
        self.current = settings
        self._followers: list[Callable[[Settings], None]] = []

    def follow(self, change: Callable[[Settings], None]) -> None:
        """Call it with the settings in force after each time that the file was read again."""
        self._followers.append(change)

    def take_over(self, written: Settings) -> Change:
        """Put in force what can be, of the file as it is now."""
        before, now = self.current, merge(self.current, written)
        self.current = now
        for change in self._followers:
            change(now)
        at_once = [name for name in _FIELDS_AT_ONCE if getattr(before, name) != getattr(now, name)]
        at_restart = [name for name in _FIELDS_AT_START if getattr(now, name) != getattr(written, name)]
        if before.accounts != now.accounts:
            at_once.append("accounts")
        if now.accounts != written.accounts:
            at_restart.append("accounts")
        return Change(tuple(map(_written_name, at_once)), tuple(map(_written_name, at_restart)))


def merge(current: Settings, written: Settings) -> Settings:
    """The settings in force after the file was read again: `current`, with all of `written` that needs no restart."""
    accounts = {name: _merge_account(account, written.accounts.get(name)) for name, account in current.accounts.items()}
    changed = {name: getattr(written, name) for name in _FIELDS_AT_ONCE}
    return current.model_copy(update={**changed, "accounts": accounts})


def _merge_account(current: AccountSettings, written: AccountSettings | None) -> AccountSettings:
    """One that is gone from the file is still connected, with what held for it."""
    if written is None:
        return current
    return current.model_copy(update={name: getattr(written, name) for name in _ACCOUNT_FIELDS_AT_ONCE})


def _written_name(field: str) -> str:
    return Settings.model_fields[field].alias or field


async def reload(live: LiveSettings, read: Callable[[], Settings], environment: Mapping[str, str] = os.environ) -> None:
    """Read the settings again and let them hold, as far as that is safe. Says everything in the log; raises nothing for what
    the file holds."""
    tell_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}", environment)
    try:
        written = await run_blocking(read)
    except SettingsInvalid as error:
        log.error(  # noqa: TRY400  the places are all that there is to say
            "settings.refused",
            problems=[str(problem) for problem in error.problems],
            advice="the settings before stay in force; correct the file and send SIGHUP again",
        )
    except OSError as error:
        log.error("settings.unreadable", error=str(error), advice="the settings before stay in force")  # noqa: TRY400
    else:
        change = live.take_over(written)
        configure_logs(live.current.log.level, live.current.log.format)
        source = str(written.source) if written.source is not None else None
        log.info("settings.reloaded", settings=source, changed=list(change.at_once))
        if change.at_restart:
            log.warning(
                "settings.restart_needed",
                settings=list(change.at_restart),
                advice="these hold from the next start on; rollouts go on where they are when the daemon is restarted",
            )
    finally:
        tell_systemd("READY=1", environment)
