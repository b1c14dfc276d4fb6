"""A daemon and its accounts: one that cannot be used holds up nobody else."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from adapters.cli import connecting
from adapters.cli.connecting import connect
from adapters.settings import AccountSettings, Settings
from engine.clock import SystemClock

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: one
clusters: [{name: one, cluster: {server: "http://127.0.0.1:9", proxy-url: "PROXY"}}]
users: [{name: one, user: {}}]
contexts: [{name: one, context: {cluster: one, user: one}}]
"""


class Log:
    def __init__(self) -> None:
        self.warnings: list[tuple[str, dict[str, object]]] = []
        self.warned = anyio.Event()

    def warning(self, event: str, **fields: object) -> None:
        self.warnings.append((event, fields))
        self.warned.set()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "not an address"])
async def test_a_proxy_that_cannot_be_used_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    path, log = tmp_path / "kubeconfig", Log()
    monkeypatch.setattr(connecting, "log", log)
    path.write_text(KUBECONFIG.replace("PROXY", proxy), "utf-8")
    accounts = {"bad": AccountSettings(kubeconfig=path)}
    settings = Settings(source=None, store=tmp_path / "s.db", socket=tmp_path / "s.sock", accounts=accounts)
    async with connect(settings, None, SystemClock(), patient=True):
        with anyio.fail_after(5.0):
            await log.warned.wait()
    event, fields = log.warnings[0]
    assert (event, fields["account"]) == ("account.unreachable", "bad")
