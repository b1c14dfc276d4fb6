"""Credentials, TLS and headers: what is sent, what happens when they are wrong, and that no message tells them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import aiohttp
import anyio
import pytest
from aiohttp import web

from adapters.metrics.credentials import (
    Access,
    BasicAuthentication,
    BearerAuthentication,
    SecretFile,
    SecretValue,
    TlsFiles,
)
from adapters.metrics.http_source import SourceMisconfigured, checked_address
from adapters.metrics.json_expression import JsonExpression
from adapters.metrics.json_http import JsonProvider, JsonRequest
from adapters.metrics.measuring import Measurer
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.metrics.prometheus import PrometheusProvider
from engine.gates import sign_preview
from engine.model import Action, ActionKind, Analysis, Facts, Snapshot, State
from engine.model import Query as AskedQuery
from tests.builders import percent, rollout_spec, target_plan
from tests.metrics.scraping import one_pod
from tests.metrics.scripted import START, HurriedClock, serving

QUERY = Query("up", START, START + timedelta(seconds=60))


class Guarded:
    """Answers 1 to whoever is let in; everybody else is told what they showed, as careless servers do."""

    def __init__(self, let_in: Callable[[web.Request], bool]) -> None:
        self.let_in = let_in

    async def answer(self, request: web.Request) -> web.Response:
        if self.let_in(request):
            return web.json_response({"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}})
        return web.Response(status=401, text=f"you showed {dict(request.headers)}")


async def measured(session: aiohttp.ClientSession, guard: Callable[[web.Request], bool], access: Access) -> Outcome:
    async with serving(Guarded(guard).answer) as url:
        return await PrometheusProvider(session, url, HurriedClock(), access).measure(QUERY)


def showing(header: str) -> Callable[[web.Request], bool]:
    return lambda request: request.headers.get("Authorization") == header


async def test_a_bearer_token_is_shown(session: aiohttp.ClientSession) -> None:
    access = Access(BearerAuthentication(SecretValue("t0ken")))
    assert (await measured(session, showing("Bearer t0ken"), access)).value == 1.0


async def test_a_user_and_password_are_shown(session: aiohttp.ClientSession) -> None:
    access = Access(BasicAuthentication("headgate", SecretValue("pä:ss")))
    encoded = base64.b64encode("headgate:pä:ss".encode()).decode()
    assert (await measured(session, showing(f"Basic {encoded}"), access)).value == 1.0


async def test_without_credentials_none_are_shown(session: aiohttp.ClientSession) -> None:
    assert (await measured(session, lambda request: "Authorization" not in request.headers, Access())).value == 1.0


async def test_headers_are_sent(session: aiohttp.ClientSession) -> None:
    access = Access(headers={"X-Scope-OrgID": "team-a"})
    assert (await measured(session, lambda request: request.headers["X-Scope-OrgID"] == "team-a", access)).value == 1.0


async def test_a_secret_in_a_file_is_read_at_each_use(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens: list[str] = []

    def note(request: web.Request) -> bool:
        tokens.append(request.headers["Authorization"])
        return True

    access = Access(BearerAuthentication(SecretFile(file)))
    async with serving(Guarded(note).answer) as url:
        provider = PrometheusProvider(session, url, HurriedClock(), access)
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            await provider.measure(QUERY)
    assert tokens == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\n", "is empty"),
        (b"one\ntwo", "contains a line break"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("tökén".encode(), "characters outside of ASCII"),
        (b"x" * 65_537, "is larger than 65536 bytes"),
    ],
)
async def test_unusable_secrets_are_an_error_and_not_sent(
    session: aiohttp.ClientSession, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    access = Access(BearerAuthentication(SecretFile(file)))
    outcome = await measured(session, lambda _: pytest.fail("it was asked"), access)
    assert outcome.kind is OutcomeKind.ERROR
    assert reason in outcome.detail
    assert "was not asked" in outcome.detail


@pytest.mark.parametrize(
    "access",
    [
        Access(BearerAuthentication(SecretValue("s3cr3t-token"))),
        Access(BasicAuthentication("headgate", SecretValue("s3cr3t-token"))),
        Access(headers={"X-Api-Key": "s3cr3t-token"}),
    ],
)
async def test_a_server_that_repeats_what_it_was_shown_does_not_get_it_into_the_journal(
    session: aiohttp.ClientSession, access: Access
) -> None:
    outcome = await measured(session, lambda _: False, access)
    assert outcome.kind is OutcomeKind.ERROR
    assert "check the provider's authentication" in outcome.detail
    assert "***" in outcome.detail
    assert "s3cr3t" not in outcome.detail
    assert base64.b64encode(b"headgate:s3cr3t-token").decode() not in outcome.detail
    assert "s3cr3t" not in repr(access)


ODD = "sesame/A+=\"%-open"
ECHOES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "in an address": lambda text: quote(text, safe=""),
    "in a path": quote,
    "in JSON": json.dumps,
    "at the cut of a page's title": lambda text: f"<html><title>{'x' * 190}{text}</title>",
    "at the cut of what is shown": lambda text: "x" * 290 + text,
    "behind the beginning of what is no JSON": lambda text: "x" * 190 + text,
}


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("echo", ECHOES)
async def test_no_form_and_no_part_of_a_secret_is_repeated(session: aiohttp.ClientSession, echo: str, status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=ECHOES[echo](ODD))

    async with serving(answer) as url:
        request = JsonRequest(f"{url}/m?key={quote(ODD, safe='')}", value=JsonExpression("value"))
        outcomes = [
            await JsonProvider(session, request, HurriedClock()).measure(QUERY),
            await PrometheusProvider(session, url, HurriedClock(), Access(headers={"X-Key": ODD})).measure(QUERY),
            await PrometheusProvider(session, url, HurriedClock()).measure(replace(QUERY, hidden=(ODD,))),
        ]
    for outcome in outcomes:
        assert outcome.value is None
        assert "sesa" not in outcome.detail


async def test_the_address_of_a_preview_in_a_query_is_not_repeated(session: aiohttp.ClientSession) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"status": "error", "error": f"cannot ask {await request.text()}"}, status=422)

    spec = rollout_spec(target_plan([percent(10), Analysis((AskedQuery("look", "prometheus", ""),), 60.0, 1)]))
    address = f"https://h.example/v1/previews/r1.production/web/{sign_preview(spec, 'web')}/"
    snapshot = Snapshot(State.ANALYSING, START, step=1, facts={"preview.web": address})
    window: Facts = {"start": START.isoformat(), "end": (START + timedelta(seconds=60)).isoformat()}
    action = Action(1, "measure:1", ActionKind.MEASURE, {"gate": "step:1", **window})
    async with serving(answer) as url:
        provider = PrometheusProvider(session, url, HurriedClock())
        measurer = Measurer({"prometheus": provider}, lambda template, *others: address)
        (result,) = (await measurer.measure(spec, snapshot, action)).results
    assert "r1.production%2Fweb%2F***" in result.detail


@pytest.mark.parametrize(
    "page", ["{}\n", f"{'x' * 50}{{}}\n", "up{{{}}} 1\n", 'up{{a="{}" 1\n', "up 1 2 3 {}\n", 'up{{a="1",,b="{}"}} 1\n']
)
async def test_nor_by_a_page_that_is_no_metric_page(page: str) -> None:
    access = Access(BearerAuthentication(SecretValue("sesame-token-open")))
    async with one_pod(page.format("sesame-token-open"), access) as story:
        outcome = await story.measure("up")
    assert outcome.kind is OutcomeKind.ERROR
    assert "sent no valid metric page" in outcome.detail
    assert "sesa" not in outcome.detail


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("prometheus:9090", "has to begin with http:// or https://"),
        ("ftp://prometheus", "has to begin with http:// or https://"),
        ("http://", "has to begin with http:// or https:// and a host name"),
        ("", "has to begin with http:// or https://"),
        ("http://[::1", "is not a URL"),
        ("http://host:port/", "is not a URL"),
        ("http://a..b/", "is not a URL with a valid host name"),
        ("http://xn--a/", "is not a URL with a valid host name"),
        ("http://two words/", "is not a URL with a valid host name"),
        ("https://me:s3cr3t@prometheus.example/", "https://prometheus.example/ holds a user name or password"),
    ],
)
def test_addresses_that_cannot_be_asked_are_refused_without_repeating_secrets(address: str, reason: str) -> None:
    with pytest.raises(SourceMisconfigured) as caught:
        checked_address(address)
    assert reason in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


async def test_headers_that_would_break_a_request_are_refused(session: aiohttp.ClientSession) -> None:
    with pytest.raises(SourceMisconfigured, match="'X-Key' contains characters"):
        PrometheusProvider(session, "http://localhost", HurriedClock(), Access(headers={"X-Key": "a\r\nb: c"}))


async def test_a_session_that_was_closed_is_an_error(session: aiohttp.ClientSession) -> None:
    await session.close()
    outcome = await PrometheusProvider(session, "http://127.0.0.1:1", HurriedClock()).measure(QUERY)
    assert outcome.kind is OutcomeKind.ERROR
    assert outcome.detail.endswith("the HTTP session is closed")


async def test_an_address_may_have_a_query_that_is_never_shown(session: aiohttp.ClientSession) -> None:
    async with serving(Guarded(lambda request: request.query.get("key") == "s3cr3t").answer) as url:
        good = await PrometheusProvider(session, f"{url}/?key=s3cr3t", HurriedClock()).measure(QUERY)
        await session.close()
        bad = await PrometheusProvider(session, f"{url}/?key=s3cr3t", HurriedClock()).measure(QUERY)
    assert good.value == 1.0
    assert "s3cr3t" not in bad.detail


async def test_redirects_are_not_followed(session: aiohttp.ClientSession) -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(answer) as url:
        outcome = await PrometheusProvider(session, url, HurriedClock()).measure(QUERY)
    assert outcome.kind is OutcomeKind.ERROR
    assert "redirects are not followed" in outcome.detail
    assert paths == ["/api/v1/query"]


def certify(folder: Path, name: str, issuer: str, *options: str) -> None:
    """A key and a certificate signed by an issuer, or by itself if it is its own issuer."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    signed = [] if issuer == name else ["-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}"]
    subprocess.run([*new, *signed, *files, *options], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl on the PATH to make certificates")
    folder = tmp_path_factory.mktemp("certificates")
    certify(folder, "authority", "authority")
    certify(
        folder, "server", "authority", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"
    )
    certify(folder, "client", "authority", "-addext", "basicConstraints=CA:FALSE")
    return folder


def server_context(folder: Path, *, wants_client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    if wants_client:
        context.load_verify_locations(folder / "authority.crt")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def measured_by_tls(session: aiohttp.ClientSession, server: ssl.SSLContext, tls: TlsFiles | None) -> Outcome:
    async with serving(Guarded(lambda _: True).answer, tls=server) as url:
        return await PrometheusProvider(session, url, HurriedClock(), Access(tls=tls)).measure(QUERY)


async def test_a_private_authority_is_trusted_when_its_file_is_given(
    session: aiohttp.ClientSession, certificates: Path
) -> None:
    tls = TlsFiles(ca_file=certificates / "authority.crt")
    assert (await measured_by_tls(session, server_context(certificates), tls)).value == 1.0


async def test_an_unknown_certificate_is_an_error_that_names_the_remedy(
    session: aiohttp.ClientSession, certificates: Path
) -> None:
    outcome = await measured_by_tls(session, server_context(certificates), None)
    assert outcome.kind is OutcomeKind.ERROR
    assert "because of its TLS certificate" in outcome.detail
    assert "Give the CA file" in outcome.detail
    assert "asked" not in outcome.detail.partition("certificate")[2]  # asking again would not help


async def test_insecure_accepts_any_certificate(session: aiohttp.ClientSession, certificates: Path) -> None:
    assert (await measured_by_tls(session, server_context(certificates), TlsFiles(insecure=True))).value == 1.0


async def test_a_server_that_wants_a_certificate_gets_ours(session: aiohttp.ClientSession, certificates: Path) -> None:
    server = server_context(certificates, wants_client=True)
    authority = certificates / "authority.crt"
    tls = TlsFiles(authority, certificates / "client.crt", certificates / "client.key")
    assert (await measured_by_tls(session, server, tls)).value == 1.0


@pytest.mark.process
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_a_server_that_wants_a_certificate_and_gets_none_is_asked_only_once(
    session: aiohttp.ClientSession, certificates: Path, version: str
) -> None:
    # Python's own server cuts the connection without a word; others tell why, and each version of TLS at another time.
    files = ["-cert", "server.crt", "-key", "server.key", "-CAfile", "authority.crt"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        "openssl",
        "s_server",
        "-accept",
        address,
        *files,
        "-Verify",
        "1",
        "-verify_return_error",
        "-www",
        version,
    ]
    async with await anyio.open_process(command, cwd=certificates) as server:
        try:
            assert server.stdout is not None
            said = b""
            with anyio.fail_after(10.0):
                while b"ACCEPT" not in said:
                    said += await server.stdout.receive()
            access = Access(tls=TlsFiles(certificates / "authority.crt"))
            outcome = await PrometheusProvider(session, f"https://{address}", HurriedClock(), access).measure(QUERY)
        finally:
            server.kill()
    assert outcome.kind is OutcomeKind.ERROR
    assert outcome.detail.endswith("does it speak https, and does it want a client certificate?")


async def test_a_certificate_that_was_renewed_is_used_from_then_on(
    session: aiohttp.ClientSession, certificates: Path, tmp_path: Path
) -> None:
    authority = tmp_path / "authority.crt"
    shutil.copy(certificates / "client.crt", authority)  # not the authority's: nothing can be verified with it
    async with serving(Guarded(lambda _: True).answer, tls=server_context(certificates)) as url:
        provider = PrometheusProvider(session, url, HurriedClock(), Access(tls=TlsFiles(ca_file=authority)))
        before = await provider.measure(QUERY)
        shutil.copy(certificates / "authority.crt", authority)
        os.utime(authority, ns=(1, 1))
        after = await provider.measure(QUERY)
    assert (before.kind, after.kind) == (OutcomeKind.ERROR, OutcomeKind.VALUE)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
async def test_tls_files_that_cannot_be_used_are_named(
    session: aiohttp.ClientSession, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_bytes(content)
    provider = PrometheusProvider(session, "https://127.0.0.1:1", HurriedClock(), Access(tls=TlsFiles(ca_file=file)))
    outcome = await provider.measure(QUERY)
    assert outcome.kind is OutcomeKind.ERROR
    assert f"the TLS files ({file}) cannot be used" in outcome.detail


async def test_http_where_https_was_meant_and_the_other_way_round(
    session: aiohttp.ClientSession, certificates: Path
) -> None:
    async with serving(Guarded(lambda _: True).answer) as url:
        provider = PrometheusProvider(session, url.replace("http:", "https:"), HurriedClock())
        assert "does it speak https" in (await provider.measure(QUERY)).detail
    async with serving(Guarded(lambda _: True).answer, tls=server_context(certificates)) as url:
        provider = PrometheusProvider(session, url.replace("https:", "http:"), HurriedClock())
        assert "closed the connection without an answer" in (await provider.measure(QUERY)).detail
