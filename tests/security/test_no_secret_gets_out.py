"""One story about everything that a daemon says: secrets in every place where one can come in, rollouts that succeed and fail,
others that throw back whatever they were told, and then a look at all that came out."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from adapters.embedded.cluster import run_embedded_cluster
from adapters.embedded.resources import NAMESPACES
from engine.clock import SystemClock
from engine.gates import sign_preview
from engine.model import FINAL_STATUSES
from store.sqlite import open_store
from tests.cli.terminal import ROOT
from tests.security.secrets_stage import (
    Document,
    Echo,
    Planted,
    analysis,
    deploy_file,
    echo,
    environment_of,
    kubeconfigs,
    manifests,
    settings_text,
)

DEADLINE_SECONDS = 240.0
CALLER = "caller-token"


@dataclass
class Told:
    """Everything that was said, by whom."""

    texts: dict[str, bytes] = field(default_factory=dict)

    def take(self, where: str, text: bytes) -> None:
        self.texts[where] = self.texts.get(where, b"") + text


@dataclass
class Daemon:
    folder: Path
    planted: Planted
    environment: dict[str, str]
    http: aiohttp.ClientSession
    url: str
    told: Told

    async def headgate(self, *arguments: str) -> bytes:
        """The command line, as a process of its own, with all that it says kept."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "adapters.cli.main", *arguments,
            cwd=self.folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        self.told.take(f"headgate {' '.join(arguments)}", out + err)
        return out

    async def ask(self, path: str, method: str = "GET", body: object = None, token: str | None = None) -> Any:
        """The API over TCP, with all that it answers kept."""
        headers = {"Authorization": f"Bearer {self.planted.texts[CALLER] if token is None else token}"}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            said = await answer.read()
            self.told.take(f"{method} {path}", repr(answer.headers).encode() + said)
            return json.loads(said) if answer.content_type == "application/json" else said

    async def until_ended(self, release: str) -> str:
        while True:
            found = await self.ask(f"/v1/releases/{release}")
            if found["release"]["status"] in FINAL_STATUSES:
                return str(found["release"]["status"])
            await anyio.sleep(0.2)

    async def deploy(self, name: str, *, manifest: str | None = None) -> str:
        """By the API; the id of its release, or why there is none."""
        text = await anyio.Path(self.folder / f"{name}.json").read_text()
        sources = {"web.manifest": [{"name": "web.manifest", "text": manifest or manifests(self.planted, name)}]}
        answer = await self.ask("/v1/releases", "POST", {"name": f"{name}.json", "text": text, "manifests": sources})
        return str(answer["release"]["id"] if "release" in answer else answer["error"]["message"])


@asynccontextmanager
async def daemon(folder: Path, side: Echo) -> AsyncIterator[Daemon]:
    planted, told, uids = Planted(), Told(), count(1)
    async with (
        run_embedded_cluster(SystemClock(), lambda: f"uid-{next(uids)}") as cluster,
        aiohttp.ClientSession() as http,
    ):
        for name in (*STORIES, "unfit"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            cluster.storage.create(NAMESPACES, namespace, manager="operator")
        port = prepare(folder, cluster.kubeconfig(), planted, side)
        environment = environment_of(folder, planted, side)
        environment |= {"HEADGATE_TOKEN": planted.texts[CALLER], "HEADGATE_CONFIG": "headgate.yaml"}
        async with await anyio.open_file(folder / "daemon.log", "wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "adapters.cli.main", "serve",
                cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, stdout=log.wrapped, stderr=log.wrapped,
            )  # fmt: skip
        try:
            running = Daemon(folder, planted, environment, http, f"http://127.0.0.1:{port}", told)
            await _until_ready(running)
            yield running
        finally:
            with anyio.CancelScope(shield=True):
                process.terminate()
                await process.wait()
        told.take("the daemon's log", await anyio.Path(folder / "daemon.log").read_bytes())


def prepare(folder: Path, kubeconfig: Document, planted: Planted, side: Echo) -> int:
    """Settings, kubeconfigs and secrets; returns the port that the daemon is to listen on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (folder / "deploy.d").mkdir()
    hashes = {"ci": hashlib.sha256(planted.put(CALLER).encode()).hexdigest()}
    accounts = kubeconfigs(kubeconfig, planted, side)
    (folder / "headgate.yaml").write_text(settings_text(folder, accounts, planted, side, port, hashes))
    return port


async def _until_ready(running: Daemon) -> None:
    while True:
        try:
            async with running.http.get(f"{running.url}/readyz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        await anyio.sleep(0.1)


MEASURED = ("bearer", "basic", "page", "datadog", "newrelic", "service", "proxied")
STORIES: dict[str, list[Document]] = {
    "good": [
        {"runCommand": {"name": "telling"}},
        analysis("good"),
        {"exposeServices": {"services": ["web"], "ttl": {"duration": 5, "unit": "minutes"}}},
        {"runCommand": {"name": "telling"}},
        {"pause": {"untilApproved": True}},
    ],
    "bad-hook": [{"runWebhook": {"name": "bad"}}],
    "hook-by-proxy": [{"runWebhook": {"name": "proxied"}}],
    "no-host": [{"runWebhook": {"name": "host"}}],
    "no-address": [{"runWebhook": {"name": "odd"}}],
    "forbidden-host": [{"runWebhook": {"name": "metadata"}}],
    "waiting": [{"runWebhook": {"name": "good"}}],
    "failing-command": [{"runCommand": {"name": "failing"}}],
    "missing-command": [{"runCommand": {"name": "missing"}}],
    **{name: [analysis(name)] for name in MEASURED},
}


def write_stories(folder: Path, side: Echo) -> None:
    for name, steps in STORIES.items():
        (folder / f"{name}.json").write_text(deploy_file(name, steps, side))


async def tell(running: Daemon, side: Echo) -> tuple[dict[str, str], dict[str, str]]:
    """All the stories to their ends. Returns their releases, and what became of those."""
    write_stories(running.folder, side)
    # The first release of an application has nothing to compare with, so there is one before each.
    firsts = {name: await running.deploy(name) for name in STORIES}
    for release in firsts.values():
        await running.until_ended(release)
    releases = {name: await running.deploy(name, manifest=changed(running.planted, name)) for name in STORIES}
    await _until_asked(running, releases["good"])
    await _until_said(running, releases["waiting"], "calls back with its verdict")
    preview, back, heard = await _capabilities(running, releases, side)
    await running.ask(f"/v1/releases/{releases['good']}/commands", "POST", {"kind": "approve", "reason": "looks good"})
    await running.ask(f"{back}/callback", "POST", {"success": True, "mdMessage": f"it was {heard}"})
    await running.ask(f"{back}/callback", "POST", {"success": True})
    await running.ask(f"{preview}/")
    for name in MEASURED:
        await _until_said(running, releases[name], "is measured again")
        await running.ask(f"/v1/releases/{releases[name]}/commands", "POST", {"kind": "abort"})
    ends = {name: await running.until_ended(release) for name, release in releases.items()}
    await running.ask(f"{preview}/")
    return releases, ends


def changed(planted: Planted, name: str) -> str:
    return manifests(planted, name).replace("web:2", "web:3")


async def _until_asked(running: Daemon, release: str) -> None:
    while not any(one["awaitsAnswer"] for one in (await running.ask(f"/v1/releases/{release}"))["rollouts"]):
        await anyio.sleep(0.1)


async def _until_said(running: Daemon, release: str, words: str) -> None:
    while words not in json.dumps(await running.ask(f"/v1/releases/{release}/journal")):
        await anyio.sleep(0.1)


async def _capabilities(running: Daemon, releases: dict[str, str], side: Echo) -> tuple[str, str, str]:
    """The paths of a preview and of a callback. Whoever has them may use them, so they are secrets of their own."""
    heard = next(json.loads(one) for one in side.heard if "/callbacks/" in one and releases["waiting"] in one)
    back = "/v1/callbacks/" + heard["headers"]["X-Back"].partition("/v1/callbacks/")[2]
    running.planted.texts["callback"] = back.rpartition("/")[2]
    copy = running.folder / "copy.db"
    await running.headgate("backup", str(copy))
    async with open_store(copy) as store:
        [stored] = await store.rollouts(releases["good"])
    running.planted.texts["preview"] = token = sign_preview(stored.spec, "web")
    running.planted.texts["rollout"] = stored.spec.secret
    return f"/v1/previews/{stored.spec.id}/web/{token}", back, json.dumps(heard)


async def look_everywhere(running: Daemon, releases: dict[str, str]) -> None:
    for path in ("/v1/releases", "/v1/folders", "/v1/caller", "/metrics", "/ui/", "/ui/assets/page.js", "/v1/nothing", "/readyz"):
        await running.ask(path)
    for release in releases.values():
        for path in ("", "/journal", "/offers", "/watch"):
            await running.ask(f"/v1/releases/{release}{path}")
    await running.ask("/v1/releases", token=running.planted.put("wrong-token"))
    await running.ask("/v1/releases", "POST", {"name": "a", "text": 7, running.planted.put("unknown-field"): 1})
    for output, told in zip(("text", "json", "yaml"), ("bad-hook", "good", "failing-command"), strict=True):
        for command in (("plan", "good.json"), ("status", releases[told]), ("history", releases[told])):
            await running.headgate(*command, "-o", output)
    for line in ("validate unfit.json", "list", "folders", "doctor", "doctor good.json -o json"):
        await running.headgate(*line.split())
    await running.headgate("list", "--server", running.url)
    await running.headgate("run", "bad-hook.json")
    await running.headgate("serve")


UNFIT = """\
---
apiVersion: v1
kind: Secret
metadata: {{name: unfit}}
stringData: {{pin: {pin}, tagged: !!int {tagged}, flag: [{listed}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: unfit-data}}
data: {{key: "{not_base64}!"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: unfit-whole}}
data: {whole}
stringData: [{items}]
---
apiVersion: v1
kind: Secret
metadata: {{name: unfit-quotes}}
stringData: {{tag: !{tag} , alias: *{alias} }}
"""


def unfit(planted: Planted) -> str:
    """Secrets that are wrong in ways of which something may want to show the value."""
    planted.texts["unfit-number"] = pin = str(7 * 10**29 + secrets.randbelow(10**20))
    names = ("tagged", "listed", "not_base64", "whole", "items", "tag", "alias")
    return UNFIT.format(pin=pin, **{name: planted.put(f"unfit-{name}", middle="-") for name in names})


def write_unfit(folder: Path, planted: Planted, side: Echo) -> str:
    """A deploy file with such Secrets, where the command line finds it and in the deploy folder. Returns its manifests."""
    bad = manifests(planted, "unfit") + unfit(planted)
    text = deploy_file("unfit", STORIES["bad-hook"], side)
    (folder / "unfit.json").write_text(text)
    (folder / "deploy.d/bad.manifest").write_text(bad)
    (folder / "deploy.d/unfit.yaml").write_text(text.replace("web.manifest", "bad.manifest"))
    return bad


def kept(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("headgate.db*"))


@pytest.mark.process
@pytest.mark.timeout(300)
async def test_no_secret_gets_out(tmp_path: Path) -> None:
    with anyio.fail_after(DEADLINE_SECONDS):
        async with echo() as side, daemon(tmp_path, side) as running:
            write_manifests(tmp_path, running.planted)
            releases, ends = await tell(running, side)
            await running.deploy("unfit", manifest=write_unfit(tmp_path, running.planted, side))
            await _until_refused(running)
            await look_everywhere(running, releases)
    told, planted = running.told, running.planted
    # The secrets really went where they belong, or nothing would be shown by their absence elsewhere.
    used = {"hook-header", "hook-body", "hook-path", "hook-query", "good-bearer", "bearer", "dd-api", "nr-key", "json-key"}
    proxies = {"proxy-password-503", "proxy-password-407", "environment-proxy-password"}
    heard = planted.found_in("\n".join(side.heard))
    assert used | proxies | {"kubeconfig-token"} <= heard
    assert "netrc" not in heard  # It is the user's own, and none of those who are called were meant to have it.
    assert (ends["good"], ends["waiting"]) == ("SUCCEEDED", "SUCCEEDED")
    assert "SUCCEEDED" not in {end for name, end in ends.items() if name not in ("good", "waiting")}, ends
    assert {where: found for where, text in told.texts.items() if (found := planted.found_in(text))} == {}
    # The store holds what was submitted, so that it can be carried out again, and what the daemon has made itself.
    own = {"rollout", "callback", "preview"}
    assert {one for one in planted.found_in(kept(tmp_path)) if "manifest" not in one} <= own


def write_manifests(folder: Path, planted: Planted) -> None:
    (folder / "web.manifest").write_text(manifests(planted, "good"))


async def _until_refused(running: Daemon) -> None:
    while "refused" not in json.dumps(await running.ask("/v1/folders")):
        await anyio.sleep(0.5)
