"""Logging in as a kubeconfig says, again when that is refused, and sentences for all that can be wrong with one."""

from __future__ import annotations

import base64
import json
import ssl
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from aiohttp import web

from adapters.kubernetes import credentials as module
from adapters.kubernetes import errors
from adapters.kubernetes.credentials import (
    RenewableCredentials,
    load_in_cluster,
    load_kubeconfig,
    load_kubeconfig_content,
)
from adapters.kubernetes.transport import open_transport
from tests.kubernetes.scripted_api import answer, scripted_api, status

CERTIFICATES = Path(__file__).parent / "certificates"
VERSION = "client.authentication.k8s.io/v1"


def kubeconfig(user: dict[str, Any], server: str = "http://127.0.0.1:1", **cluster: object) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


async def ask(credentials: RenewableCredentials) -> object:
    async with open_transport(credentials) as transport:
        return await transport.request("GET", "/version", what="GET /version")


# --- what is shown ---------------------------------------------------------------------------------------------------


async def test_a_token_a_password_and_impersonation_are_shown() -> None:
    async def headers(**user: object) -> tuple[tuple[str, str], ...]:
        return (await load_kubeconfig_content(kubeconfig(user))).login.headers

    assert await headers(token="t") == (("Authorization", "Bearer t"),)
    assert await headers(username="u", password="p") == (("Authorization", "Basic dTpw"),)
    assert await headers() == ()
    impersonating = {
        "as": "deployer",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"scopes/x": ["read", "write"]},
    }
    assert await headers(token="t", **impersonating) == (
        ("Authorization", "Bearer t"),
        ("Impersonate-User", "deployer"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-scopes%2Fx", "read"),
        ("Impersonate-Extra-scopes%2Fx", "write"),
    )


async def test_a_token_file_is_read_again_when_its_token_is_refused_whatever_ends_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEWAL_PAUSE_SECONDS", 0.0)
    token = tmp_path / "token"
    token.write_text("first\n", "utf-8")
    async with scripted_api() as api:
        api.others.append(only("second"))
        path = write(tmp_path / "config", kubeconfig({"tokenFile": "token"}, api.server))
        credentials = await load_kubeconfig(path)
        with pytest.raises(errors.Unauthorized):
            await ask(credentials)
        token.write_text("second\r\n", "utf-8")
        assert await ask(credentials) == {"ok": True}


async def test_in_a_pod_the_service_account_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.CredentialsFailed, match="Service host/port is not set"):
        await load_in_cluster(tmp_path)
    async with tls_api("server") as api:
        api.others.append(only("pod-token"))
        port = api.server.rpartition(":")[2]
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        (tmp_path / "ca.crt").write_bytes((CERTIFICATES / "ca.pem").read_bytes())
        with pytest.raises(errors.CredentialsFailed, match="token file does not exist"):
            await load_in_cluster(tmp_path)
        (tmp_path / "token").write_text("pod-token\n", "utf-8")
        credentials = await load_in_cluster(tmp_path)
        assert credentials.server == f"https://127.0.0.1:{port}"
        assert credentials.login.headers == (("Authorization", "Bearer pod-token"),)
        with pytest.raises(errors.Unreachable, match="certificate"):
            await ask(credentials)


def only(token: str) -> Any:
    async def respond(request: web.Request) -> web.StreamResponse:
        fits = request.headers.get("Authorization") == f"Bearer {token}"
        return await (answer(200, {"ok": True}) if fits else status(401, "Unauthorized"))(request)

    return respond


# --- certificates ----------------------------------------------------------------------------------------------------


def tls_api(name: str, *, asks_for_certificates: bool = False) -> Any:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    if asks_for_certificates:
        context.load_verify_locations(CERTIFICATES / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return scripted_api(context)


async def name_the_client(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    ((_, name),) = request.transport.get_extra_info("peercert")["subject"][0]
    return web.json_response({"client": name})


async def test_the_clusters_own_authority_is_trusted_for_the_name_that_the_kubeconfig_gives() -> None:
    trust = {"certificate-authority": str(CERTIFICATES / "ca.pem")}
    async with tls_api("server") as api:
        api.others.append(answer(200, {"ok": True}))
        named = await load_kubeconfig_content(kubeconfig({}, api.server, **trust, **{"tls-server-name": "api.test"}))
        assert await ask(named) == {"ok": True}
        with pytest.raises(errors.Unreachable, match=r"127\.0\.0\.1"):
            await ask(await load_kubeconfig_content(kubeconfig({}, api.server, **trust)))
        with pytest.raises(errors.Unreachable, match="certificate"):
            await ask(await load_kubeconfig_content(kubeconfig({}, api.server, **{"tls-server-name": "api.test"})))
        careless = await load_kubeconfig_content(kubeconfig({}, api.server, **{"insecure-skip-tls-verify": True}))
        assert await ask(careless) == {"ok": True}


async def test_inline_certificates_and_keys_do_not_stay_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with tls_api("server", asks_for_certificates=True) as api:
        api.others.append(name_the_client)
        user = {
            "client-certificate-data": inline(CERTIFICATES / "first.pem"),
            "client-key-data": inline(CERTIFICATES / "first.pem"),
        }
        trust = {"certificate-authority-data": inline(CERTIFICATES / "ca.pem"), "tls-server-name": "api.test"}
        for _ in range(2):
            credentials = await load_kubeconfig_content(kubeconfig(user, api.server, **trust))
            assert await ask(credentials) == {"client": "first"}
            assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_renewed_client_certificate_is_shown_on_new_connections(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    answered = {}
    for name in ("first", "second"):
        pem = (CERTIFICATES / f"{name}.pem").read_text("utf-8")
        answered[name] = {"clientCertificateData": pem, "clientKeyData": pem}
    write_plugin(plugin, answered["first"])

    async def second_only(request: web.Request) -> web.StreamResponse:
        response = await name_the_client(request)
        assert isinstance(response, web.Response)
        is_second = json.loads(response.body or b"")["client"] == "second"  # type: ignore[arg-type]
        return response if is_second else await status(401, "Unauthorized")(request)

    async with tls_api("server", asks_for_certificates=True) as api:
        api.others.append(name_the_client)
        trust = {"certificate-authority": str(CERTIFICATES / "ca.pem"), "tls-server-name": "api.test"}
        credentials = await load_kubeconfig_content(kubeconfig(uses(plugin), api.server, **trust))
        async with open_transport(credentials) as transport:
            assert await transport.request("GET", "/version", what="x") == {"client": "first"}
            write_plugin(plugin, answered["second"])
            api.others.clear()
            api.others.append(second_only)
            assert await transport.request("GET", "/version", what="x") == {"client": "second"}


# --- plugins ---------------------------------------------------------------------------------------------------------


def write_plugin(path: Path, status: dict[str, str]) -> None:
    """A program that answers, and counts in a file beside it how often it was run."""
    content = json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status})
    path.with_suffix(".json").write_text(content, "utf-8")
    path.write_text(f"#!/bin/sh\necho run >> {path}.runs\ncat {path.with_suffix('.json')}\n", "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def uses(plugin: Path) -> dict[str, Any]:
    return {"exec": {"command": str(plugin), "apiVersion": VERSION}}


def runs(plugin: Path) -> int:
    return Path(f"{plugin}.runs").read_text("utf-8").count("run")


async def test_a_plugin_is_run_again_for_a_refused_token_even_if_that_has_not_expired_and_once_for_all(
    tmp_path: Path,
) -> None:
    plugin = tmp_path / "plugin"
    write_plugin(plugin, {"token": "first", "expirationTimestamp": "2999-01-01T00:00:00Z"})
    async with scripted_api() as api:
        api.others.append(only("second"))
        credentials = await load_kubeconfig_content(kubeconfig(uses(plugin), api.server))
        write_plugin(plugin, {"token": "second"})
        async with open_transport(credentials) as transport, anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask_over, transport)
    assert runs(plugin) == 2


async def ask_over(transport: Any) -> None:
    assert await transport.request("GET", "/version", what="x") == {"ok": True}


async def test_a_plugin_that_does_not_help_is_not_run_for_every_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "plugin"
    write_plugin(plugin, {"token": "useless"})
    async with scripted_api() as api:
        api.others.append(status(401, "Unauthorized"))
        credentials = await load_kubeconfig_content(kubeconfig(uses(plugin), api.server))
        for _ in range(5):
            with pytest.raises(errors.Unauthorized):
                await ask(credentials)
        assert runs(plugin) == 2
        monkeypatch.setattr(module, "RENEWAL_PAUSE_SECONDS", 0.0)
        with pytest.raises(errors.Unauthorized):
            await ask(credentials)
        assert runs(plugin) == 3


async def test_a_plugin_that_begins_to_fail_is_told_to_who_asks_and_may_recover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEWAL_PAUSE_SECONDS", 0.0)
    plugin = tmp_path / "plugin"
    write_plugin(plugin, {"token": "first"})
    async with scripted_api() as api:
        api.others.append(only("second"))
        credentials = await load_kubeconfig_content(kubeconfig(uses(plugin), api.server))
        plugin.write_text("#!/bin/sh\necho 'session expired' >&2; exit 1\n", "utf-8")
        with pytest.raises(errors.CredentialsFailed, match="session expired"):
            await ask(credentials)
        write_plugin(plugin, {"token": "second"})
        assert await ask(credentials) == {"ok": True}


# --- kubeconfigs that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no kubeconfig at .*/config"),
        ("", "is not one, or an entry in it is malformed"),
        ("just words", "is not one, or an entry in it is malformed"),
        ("- a\n- list", "is not one, or an entry in it is malformed"),
        ("a: [1\nb: {", r"not YAML \(line 2, column 2\)"),
        ("current-context: here", "Expected object with name here"),
        (yaml.safe_dump(kubeconfig({}) | {"current-context": "there"}), "Expected object with name there"),
        (yaml.safe_dump(kubeconfig({}) | {"clusters": [{"name": "c", "cluster": {"x": 1}}]}), "gives no address"),
        (yaml.safe_dump(kubeconfig({}, "api.test:6443")), "gives no address"),
        (yaml.safe_dump(kubeconfig({"tokenFile": "no-such-token"})), "No such file"),
        (yaml.safe_dump(kubeconfig({"exec": {"apiVersion": "v1"}})), "no command"),
        (yaml.safe_dump(kubeconfig({}, "https://x", **{"certificate-authority": "no-such-file"})), "no-such-file"),
        (yaml.safe_dump(kubeconfig({}, "https://x", **{"certificate-authority-data": "!"})), "not usable"),
        (yaml.safe_dump(kubeconfig({}, "https://x", **{"certificate-authority-data": "QQ=="})), "not usable"),
    ],
)
async def test_what_is_wrong_with_a_kubeconfig_is_said(tmp_path: Path, content: str | None, expected: str) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(errors.CredentialsFailed, match=expected):
        await load_kubeconfig(path)


async def test_the_usual_kubeconfig_is_the_one_that_kubectl_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = write(tmp_path / "one", kubeconfig({"token": "one"}))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/missing:{one}")
    assert (await load_kubeconfig(None)).login.headers == (("Authorization", "Bearer one"),)
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(errors.CredentialsFailed, match=r"\.kube/config"):
        await load_kubeconfig(None)
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", kubeconfig({"token": "home"}))
    assert (await load_kubeconfig(None)).login.headers == (("Authorization", "Bearer home"),)


async def test_an_edited_kubeconfig_is_read_again_when_the_login_is_renewed(tmp_path: Path) -> None:
    async with scripted_api() as api:
        api.others.append(only("second"))
        path = write(tmp_path / "config", kubeconfig({"token": "first"}, api.server))
        credentials = await load_kubeconfig(path)
        write(path, kubeconfig({"token": "second"}, api.server))
        assert await ask(credentials) == {"ok": True}


async def test_an_auth_provider_is_refused_with_what_to_use_instead() -> None:
    """The library asks OIDC providers without looking at their certificates."""
    provider = {"auth-provider": {"name": "oidc", "config": {"id-token": "a.b.c", "refresh-token": "r"}}}
    with pytest.raises(errors.CredentialsFailed, match=r"auth-provider 'oidc'.*kubelogin"):
        await load_kubeconfig_content(kubeconfig(provider))


def test_the_kubernetes_library_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, adapters.kubernetes.cluster, adapters.kubernetes.world; print('kubernetes_asyncio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
