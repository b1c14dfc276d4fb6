"""Manifests that a deploy file names by an address: fetched when it is read, and what was read is what runs."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from adapters.cli.addresses import fetch
from adapters.cli.files import Choices, load
from adapters.cli.orders import bundle
from adapters.http.identity import Caller
from adapters.http.known_names import KnownNames
from adapters.http.submission import compile_submission
from engine.model import ReleasePlan
from strategies.deployfile import MOST_BYTES, Unreadable
from tests.cli.terminal import asked, headgate
from tests.cli.web import Page, Web, serving
from tests.http.stage import MANIFEST, Daemon, percent, write_files


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Web]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serving(tls=context) as web:
        yield web


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as web:
        yield web


def deploy_file(folder: Path, address: str) -> Path:
    path = write_files(folder, percent(25))
    path.write_text(path.read_text().replace("web.yaml", address))
    return path


def refusal(address: str, **options: float) -> str:
    with pytest.raises(Unreadable) as caught:
        fetch(address, **options)
    return str(caught.value)


# --- the commands -----------------------------------------------------------------------------------------------------


def test_validate_and_plan_fetch_what_has_an_address(tmp_path: Path, secure: Web, trusted: None) -> None:
    secure.pages["/web.yaml"] = Page(MANIFEST.encode())
    path = deploy_file(tmp_path, f"{secure.address}/web.yaml")

    validated, planned = headgate("validate", path, "-o", "json"), headgate("plan", path)

    assert (validated.code, validated.json["warnings"], validated.json["runnable"]) == (0, [], True)
    assert (planned.code, "Deployment web" in planned.out) == (0, True)
    assert secure.asked == ["/web.yaml", "/web.yaml"]


async def test_deploy_sends_what_was_fetched_and_the_daemon_fetches_nothing(
    tmp_path: Path, secure: Web, trusted: None, daemon: Daemon
) -> None:
    secure.pages["/web.yaml"] = Page(MANIFEST.encode())
    path = deploy_file(tmp_path, f"{secure.address}/web.yaml?key=of-mine")

    said = await asked("deploy", path, "--watch")

    assert (said.code, secure.asked) == (0, ["/web.yaml?key=of-mine"])


async def test_what_was_validated_is_what_runs_whatever_is_at_the_address_by_then(tmp_path: Path, web: Web) -> None:
    web.pages["/web.yaml"] = Page(MANIFEST.encode())
    sent = bundle(load(deploy_file(tmp_path, f"{web.address}/web.yaml")), Choices())
    web.pages["/web.yaml"] = Page(status=404)

    plan = await compile_submission(sent, Caller("ada", None), KnownNames(frozenset({"model"}), frozenset()))

    assert isinstance(plan, ReleasePlan)
    assert [one.name for one in plan.targets[0].workloads] == ["web"]
    assert any("what comes over http can be changed on its way" in warning for warning in plan.warnings)


def test_what_cannot_be_fetched_is_a_problem_at_its_place(tmp_path: Path, web: Web) -> None:
    path = deploy_file(tmp_path, f"{web.address}/web.yaml")

    said = headgate("validate", path)

    host = web.address.removeprefix("http://")
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if web.address in text)
    assert said.code == 2
    assert f"{path}:{line}:" in said.err
    assert f"{host} answered 404 instead of the manifest; check the address" in said.err


def test_what_is_no_yaml_is_a_problem_at_its_place_in_it(tmp_path: Path, web: Web) -> None:
    web.pages["/web.yaml"] = Page(b"kind: Deployment\nmetadata: {name: [}\n")
    said = headgate("validate", deploy_file(tmp_path, f"{web.address}/web.yaml?key=secret"))
    assert said.code == 2
    assert f"{web.address}/web.yaml:2:" in said.err
    assert "secret" not in said.err


# --- fetching ---------------------------------------------------------------------------------------------------------


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Web) -> None:
    secure.pages["/web.yaml"] = Page(MANIFEST.encode())
    assert "its certificate is not trusted" in refusal(f"{secure.address}/web.yaml")
    assert secure.asked == []


def test_redirects_are_followed_a_few_times(web: Web) -> None:
    web.pages |= {f"/{number}": Page(status=302, location=f"/{number - 1}") for number in range(1, 10)}
    web.pages["/0"] = Page(b"kind: Secret")
    assert fetch(f"{web.address}/5") == b"kind: Secret"
    assert "redirects more than 5 times" in refusal(f"{web.address}/6")


def test_a_redirect_in_a_circle_ends(web: Web) -> None:
    web.pages["/a"] = Page(status=302, location="/a")
    assert "redirects more than 5 times" in refusal(f"{web.address}/a")


def test_a_redirect_never_leads_from_https_to_http(secure: Web, web: Web, trusted: None) -> None:
    web.pages["/web.yaml"] = Page(MANIFEST.encode())
    secure.pages["/web.yaml"] = Page(status=301, location=f"{web.address}/web.yaml")
    assert "redirects from https to http" in refusal(f"{secure.address}/web.yaml")
    assert web.asked == []


def test_nor_to_a_file(web: Web) -> None:
    web.pages["/web.yaml"] = Page(status=301, location="file:///etc/passwd")
    assert "no address of the web" in refusal(f"{web.address}/web.yaml")


def test_a_web_page_is_no_manifest(web: Web) -> None:
    web.pages["/web.yaml"] = Page(b"<html>", kind="text/html; charset=utf-8")
    assert "answered with a web page; give the address of the bare file" in refusal(f"{web.address}/web.yaml")


def test_what_is_too_large_is_not_read_to_its_end(tmp_path: Path, web: Web) -> None:
    web.pages["/web.yaml"] = Page(b"#" * (MOST_BYTES + 100_000))
    assert len(fetch(f"{web.address}/web.yaml")) == MOST_BYTES + 1
    said = headgate("validate", deploy_file(tmp_path, f"{web.address}/web.yaml"))
    assert "the file is larger than 4 MiB; split it" in said.err


def test_half_a_manifest_is_none(web: Web) -> None:
    web.pages["/web.yaml"] = Page(b"kind: Secret", promised=100)
    assert "ended before the manifest did" in refusal(f"{web.address}/web.yaml")


def test_who_does_not_answer_is_not_waited_for(web: Web) -> None:
    assert "did not answer in time" in refusal(f"{web.address}/silent/web.yaml", seconds=0.2)


def test_nobody_is_there() -> None:
    assert "cannot be reached" in refusal("http://127.0.0.1:1/web.yaml")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("https://ada:hunter2@127.0.0.1/web.yaml", "names a user or a password"),
        ("https:///web.yaml", "this is not an address"),
        ("https://127.0.0.1:port/web.yaml", "this is not an address"),
        ("https://127.0.0.1/web\n.yaml", "this is not an address"),
        ("https://127.0.0.1/wéb.yaml", "this is not an address"),
    ],
)
def test_addresses_that_are_refused_unasked(address: str, why: str) -> None:
    said = refusal(address)
    assert why in said
    assert "hunter2" not in said
