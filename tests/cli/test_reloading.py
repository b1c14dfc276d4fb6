"""A SIGHUP: which settings hold at once, which wait for a restart, and that mistakes change nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from adapters.access import Token
from adapters.cli.reloading import LiveSettings, merge
from adapters.settings import AccountSettings, LogLevel, LogSettings, RetentionSettings, Settings
from adapters.settings_admission import LimitSettings
from tests.cli.terminal import headgate, start, wait
from tests.http.stage import APPROVAL, DEADLINE_SECONDS, MANIFEST, deploy_text, percent

BEFORE = Settings(
    source=Path("/etc/headgate.yaml"),
    store=Path("/var/headgate.db"),
    socket=Path("/run/headgate.sock"),
    accounts={"west": AccountSettings(context="west", limit=1), "east": AccountSettings(context="east")},
)


def test_what_is_looked_up_at_each_use_holds_at_once_and_what_is_open_waits_for_a_restart() -> None:
    token = Token(name="ci", sha256="0" * 64)
    written = BEFORE.model_copy(
        update={
            "tokens": (token,),
            "limits": LimitSettings(rollouts=3),
            "deploy_folders": (Path("/deploy.d"),),
            "manifest_folders": (Path("/manifests"),),
            "retention": RetentionSettings(days=30),
            "log": LogSettings(level=LogLevel.DEBUG),
            "store": Path("/elsewhere.db"),
            "public_url": "https://headgate.example",
            "accounts": {
                "west": AccountSettings(context="new", limit=2),
                "south": AccountSettings(),
            },
        }
    )
    live = LiveSettings(BEFORE)
    told: list[Settings] = []
    live.follow(told.append)
    change = live.take_over(written)
    assert change.at_once == ("tokens", "limits", "deployFolders", "manifestFolders", "retention", "log", "accounts")
    assert change.at_restart == ("store", "publicUrl", "accounts")
    assert told == [live.current]
    assert (live.current.tokens, live.current.limits.rollouts) == ((token,), 3)
    assert live.current.store == BEFORE.store
    assert live.current.accounts == {
        "west": AccountSettings(context="west", limit=2),
        "east": AccountSettings(context="east"),
    }
    again = live.take_over(written)
    assert (again.at_once, again.at_restart) == ((), change.at_restart)


def test_the_same_file_changes_nothing() -> None:
    assert merge(BEFORE, BEFORE) == BEFORE


# --- a daemon as a process ---------------------------------------------------------------------------------------------


class Process:
    """A daemon on a model, its settings file, and what it tells systemd."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "settings.yaml"
        self.deploy_folder = folder / "deploy.d"
        self.deploy_folder.mkdir()
        (self.deploy_folder / "web.manifest").write_text(MANIFEST)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.notified.settimeout(DEADLINE_SECONDS)

    def write(self, text: str) -> None:
        usual = "store: a.db\nsocket: headgate.sock\naccounts: {model: {}}\n"
        self.settings.write_text(usual + text)

    def deploy(self, *steps: str) -> None:
        (self.deploy_folder / "shop.yaml").write_text(deploy_text(*steps).replace("web.yaml", "web.manifest"))

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        environment = {"NOTIFY_SOCKET": str(self.folder / "notify")}
        daemon = start("serve", "--config", self.settings, model=True, env=environment)
        try:
            assert self.heard() == "READY=1"
            yield daemon
        finally:
            daemon.kill()
            daemon.communicate()

    def heard(self) -> str:
        return self.notified.recv(200).decode()

    def reload(self, daemon: subprocess.Popen[str]) -> None:
        """Until the daemon says that it has read its settings again."""
        began = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        daemon.send_signal(signal.SIGHUP)
        reloading, _, instant = self.heard().partition("\nMONOTONIC_USEC=")
        assert reloading == "RELOADING=1"
        assert began <= int(instant) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        assert self.heard() == "READY=1"

    def ask(self, *arguments: str) -> dict[str, list[dict[str, object]]]:
        said = headgate(*arguments, "--config", self.settings, "-o", "json")
        assert said.code == 0, said.err
        answer: dict[str, list[dict[str, object]]] = json.loads(said.out)
        return answer

    def file_states(self) -> list[object]:
        files = [file for folder in self.ask("folders")["folders"] for file in folder["files"]]  # type: ignore[attr-defined]
        return [file["state"] for file in files]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    with made.notified:
        yield made


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never comes true"
        time.sleep(0.05)


@pytest.mark.process
def test_a_hangup_reads_the_settings_again_and_mistakes_leave_the_old_ones_in_force(process: Process) -> None:
    process.write("")
    with process.running() as daemon:
        assert process.ask("folders") == {"folders": []}
        process.write("deployFolders: [deploy.d]\nmetricProviders: {pages: {type: scrape, urls: ['http://x/metrics']}}\n")
        process.reload(daemon)
        assert process.ask("folders")["folders"][0]["path"] == str(process.deploy_folder)
        process.write("deployFolders: [deploy.d]\nlog: {level: loud}\ntokens: [{name: a}]\n")
        process.reload(daemon)
        process.settings.write_text("store: a.db\nsocket: headgate.sock\n")
        daemon.terminate()
        said = wait(daemon)
    assert said.code == 0
    assert "settings.reloaded" in said.err
    [advice] = [line for line in said.err.splitlines() if "settings.restart_needed" in line]
    assert "settings=['metricProviders']" in advice
    [refused] = [line for line in said.err.splitlines() if "settings.refused" in line]
    assert f"{process.settings}:5:14: log.level is the text" in refused
    assert f"{process.settings}:6:10: tokens[0] has neither" in refused


@pytest.mark.process
def test_a_file_that_cannot_be_read_to_its_end_keeps_nobody_from_stopping(process: Process) -> None:
    """As on a file system whose server is gone. Neither the daemon's parts wait for it, nor the process's end."""
    process.write("")
    with process.running() as daemon:
        process.settings.unlink()
        os.mkfifo(process.settings)
        daemon.send_signal(signal.SIGHUP)
        assert process.heard().startswith("RELOADING=1")
        daemon.terminate()
        said = wait(daemon)
    assert said.code == 0
    assert "daemon.stopping" in said.err


@pytest.mark.process
def test_a_renewed_certificate_needs_no_restart(process: Process) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(process.folder / "ca.pem")

    def renew() -> bytes:
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(process.folder / "tls.key")
        issued.cert_chain_pems[0].write_to_path(process.folder / "tls.crt")
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    def shown() -> bytes | None:
        context = ssl.create_default_context(cafile=str(process.folder / "ca.pem"))
        plain = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as safe:
            return safe.getpeercert(binary_form=True)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listening = f"listen: 127.0.0.1:{port}\ntls: {{certificateFile: tls.crt, keyFile: tls.key}}\n"
    process.write(listening + f"tokens: [{{name: a, sha256: {'0' * 64}}}]\n")
    first = renew()
    with process.running() as daemon:
        assert shown() == first
        second = renew()
        process.reload(daemon)
        until(lambda: shown() == second)


@pytest.mark.process
def test_neither_a_hangup_nor_a_kill_in_the_middle_begins_a_file_twice(process: Process) -> None:
    process.write("deployFolders: [deploy.d]\n")
    process.deploy(percent(50), APPROVAL)
    with process.running() as daemon:
        until(lambda: process.file_states() == ["started"])
        process.reload(daemon)
        process.reload(daemon)
        [release] = process.ask("list")["releases"]
    with process.running() as daemon:
        process.reload(daemon)
        until(lambda: process.file_states() == ["unchanged"])
        assert [one["id"] for one in process.ask("list")["releases"]] == [release["id"]]
        text = headgate("folders", "--config", process.settings).out
    assert f"shop.yaml  unchanged  {release['id']}  release {release['id']} was begun from this content" in text


@pytest.mark.process
def test_limits_and_freezes_of_the_settings_hold_and_change_at_a_hangup(process: Process) -> None:
    def deploy(application: str) -> str:
        path = process.folder / f"{application}.yaml"
        path.write_text(deploy_text(percent(50), APPROVAL, application=application).replace("web.yaml", "web.manifest"))
        (process.folder / "web.manifest").write_text(MANIFEST)
        accepted = headgate("deploy", path, "--config", process.settings, "-o", "json")
        assert accepted.code == 0, accepted.err
        return str(json.loads(accepted.out)["release"]["id"])

    def doing(release: str) -> str:
        return str(process.ask("status", release)["rollouts"][0]["doing"])

    process.write("limits: {rollouts: 1}\n")
    with process.running() as daemon:
        first = deploy("first")
        until(lambda: "approve or reject" in doing(first))
        second = deploy("second")
        until(lambda: doing(second) == "1 rollout is under way, and the limit is 1: it begins when there are fewer")
        process.write("limits: {rollouts: 2}\nfreezes: [{from: 2020-01-01, to: 2099-01-01, timezone: UTC, reason: the feast}]\n")
        process.reload(daemon)
        until(lambda: doing(second).startswith("rollouts are frozen (the feast)"))
        process.write("limits: {rollouts: 2}\n")
        process.reload(daemon)
        until(lambda: "approve or reject" in doing(second))
