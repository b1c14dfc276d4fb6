"""Programs that log in for us: what they are told, what they may answer, and that they end."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest

from adapters.kubernetes.errors import CredentialsFailed
from adapters.kubernetes.exec_plugin import LONGEST_COMPLAINT, ExecPlugin, read_plugin, run_plugin

VERSION = "client.authentication.k8s.io/v1"


def answered(**status: object) -> str:
    return json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status})


def script(folder: Path, body: str) -> str:
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def run(plugin: ExecPlugin, limit_seconds: float = 10) -> str:
    return (await run_plugin(plugin, limit_seconds=limit_seconds)).token


async def test_it_is_run_with_its_arguments_and_environment_and_told_what_is_asked_of_it(tmp_path: Path) -> None:
    body = f"""echo "$1|$REGION|$KUBERNETES_EXEC_INFO" > {tmp_path}/told; echo '{answered(token="t1")}'"""
    section = {
        "command": script(tmp_path, body),
        "apiVersion": VERSION,
        "args": ["get-token"],
        "env": [{"name": "REGION", "value": "north"}],
        "provideClusterInfo": True,
    }
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "prod"}}
    cluster = {"server": "https://api.test", "certificate-authority-data": "QQ==", "extensions": [extension]}
    assert await run(read_plugin(section, cluster, None)) == "t1"
    argument, region, request = (tmp_path / "told").read_text("utf-8").strip().split("|", 2)
    assert (argument, region) == ("get-token", "north")
    assert json.loads(request) == {
        "apiVersion": VERSION,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {
                "server": "https://api.test",
                "certificate-authority-data": "QQ==",
                "config": {"audience": "prod"},
            },
        },
    }


async def test_a_relative_command_is_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    script(tmp_path, f"echo '{answered(token='t1')}'")
    assert await run(read_plugin({"command": "./plugin", "apiVersion": VERSION}, {}, tmp_path)) == "t1"


async def test_a_client_certificate_is_an_answer_too(tmp_path: Path) -> None:
    plugin = ExecPlugin(script(tmp_path, f"echo '{answered(clientCertificateData='C', clientKeyData='K')}'"), VERSION)
    login = await run_plugin(plugin, limit_seconds=10)
    assert (login.token, login.certificate, login.key) == ("", "C", "K")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("echo token-secret; echo 'please run: cloud login' >&2; exit 3", "ended with 3: please run: cloud login"),
        ("exit 1", "ended with 1: no complaint"),
        ("echo token-secret", "not an ExecCredential"),
        ("echo '[1]'", "not an ExecCredential"),
        ('echo \'{"kind": "ExecCredential"}\'', "not an ExecCredential"),
        (f"echo '{answered()}'", "neither a token nor a client certificate"),
        (f"echo '{answered(clientCertificateData='C')}'", "neither a token nor a client certificate"),
        (
            f"echo '{answered(token='token-secret').replace('/v1', '/v1beta1')}'",
            "v1beta1 ExecCredential, and the kubeconfig asks",
        ),
    ],
)
async def test_what_it_does_wrong_is_told_without_what_it_printed(tmp_path: Path, body: str, complaint: str) -> None:
    with pytest.raises(CredentialsFailed, match=complaint) as caught:
        await run(ExecPlugin(script(tmp_path, body), VERSION))
    assert "token-secret" not in str(caught.value)


async def test_what_it_was_given_is_not_told_in_any_form(tmp_path: Path) -> None:
    secret = "sesame/A+=\"%-open"
    plugin = ExecPlugin(script(tmp_path, 'echo "no login by $KEY, $1" >&2; exit 1'), VERSION, [quote(secret)], {"KEY": secret})
    with pytest.raises(CredentialsFailed, match=r"no login by \*\*\*, \*\*\*$"):
        await run(plugin)
    plugin = ExecPlugin(script(tmp_path, f"echo 'asked ?key={quote(secret, safe='')}' >&2; exit 1"), VERSION, (), {"KEY": secret})
    with pytest.raises(CredentialsFailed, match=r"asked \?key=\*\*\*$"):
        await run(plugin)


async def test_many_complaints_neither_block_it_nor_fill_the_message(tmp_path: Path) -> None:
    body = "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo; echo 'the reason' >&2; exit 1"
    with pytest.raises(CredentialsFailed, match="the reason") as caught:
        await run(ExecPlugin(script(tmp_path, body), VERSION))
    assert len(str(caught.value)) < LONGEST_COMPLAINT + 200


async def test_a_missing_program_is_told_with_the_hint_of_the_kubeconfig() -> None:
    section = {"command": "no-such-plugin", "apiVersion": VERSION, "installHint": "Install it from your cloud.\n"}
    with pytest.raises(
        CredentialsFailed, match=r"no-such-plugin cannot be run \(No such file .*\); Install it from your cloud."
    ):
        await run(read_plugin(section, {}, None))
    with pytest.raises(CredentialsFailed, match="no command"):
        read_plugin({"apiVersion": VERSION}, {}, None)


async def test_one_that_does_not_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    body = f"sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; wait"
    with pytest.raises(CredentialsFailed, match=r"no answer within 0\.5 s"):
        await run(ExecPlugin(script(tmp_path, body), VERSION), limit_seconds=0.5)
    await until_gone(tmp_path)


async def test_one_that_is_no_longer_wanted_is_killed_too(tmp_path: Path) -> None:
    body = f"sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; wait"
    plugin = ExecPlugin(script(tmp_path, body), VERSION)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, plugin)
        with anyio.fail_after(5):
            while not (tmp_path / "self").exists() or not (tmp_path / "self").read_text("utf-8"):
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    await until_gone(tmp_path)


async def test_one_that_leaves_a_child_behind_is_not_waited_for_longer_than_it_runs(tmp_path: Path) -> None:
    body = f"sleep 600 & echo $! > {tmp_path}/child; echo '{answered(token='t')}'"
    assert await run(ExecPlugin(script(tmp_path, body), VERSION), limit_seconds=5) == "t"
    os.kill(int((tmp_path / "child").read_text("utf-8")), signal.SIGKILL)


async def until_gone(folder: Path) -> None:
    with anyio.fail_after(5):
        while any(is_running(int((folder / name).read_text("utf-8"))) for name in ("self", "child")):
            await anyio.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
