"""TLS on the daemon's TCP address, with real handshakes: its certificate, those of callers, and renewals while it runs."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
import trustme

from adapters.access import Access, Token
from adapters.cli.errors import InputInvalid
from adapters.cli.surroundings import read_place
from adapters.http.certificates import CertificateUnusable, build_context, names_in
from adapters.http.client import DaemonClient, TcpPlace
from adapters.http.client_errors import DaemonRefused, DaemonUnreachable
from adapters.settings import Address, ClientCertificates, ListenTlsSettings, TlsVersion
from tests.folders.stage import HandClock, listening
from tests.http.stage import APPROVAL, Daemon, Stage, submission, token, until


@dataclass
class Authority:
    """An authority of the operator, and the files that it has issued."""

    folder: Path
    name: str
    ca: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.file = self.folder / f"{self.name}.ca.pem"
        self.ca.cert_pem.write_to_path(self.file)

    def issue(self, *identities: str, common_name: str | None = None, into: str = "") -> tuple[Path, Path]:
        """A certificate with its chain, and its key."""
        issued = self.ca.issue_cert(*identities, common_name=common_name)
        base = into or f"{self.name}.{'-'.join(identities) or common_name}"
        certificate, key = self.folder / f"{base}.crt", self.folder / f"{base}.key"
        certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return certificate, key


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def stage(tmp_path: Path, authority: Authority) -> Stage:
    certificate, key = authority.issue("127.0.0.1", into="daemon")
    tls = ListenTlsSettings(certificate_file=certificate, key_file=key)
    return Stage(tmp_path, tokens=(token("ci"),), listen=Address("127.0.0.1", 0), tls=tls)


def mutual(stage: Stage, clients: Authority, *tokens: Token, optional: bool = False) -> None:
    assert stage.tls is not None
    how = ClientCertificates.OPTIONAL if optional else ClientCertificates.REQUIRED
    stage.tls = stage.tls.model_copy(update={"client_ca_file": clients.file, "client_certificates": how})
    stage.tokens = tokens


def client(
    daemon: Daemon, authority: Authority, name: str = "", certificate: tuple[Path, Path] | None = None
) -> DaemonClient:
    """As the command line reads it from its variables."""
    environment = {"HEADGATE_CA_FILE": str(authority.file)}
    if name:
        environment["HEADGATE_TOKEN"] = f"the-{name}-token"
    if certificate is not None:
        environment |= {"HEADGATE_CLIENT_CERTIFICATE": str(certificate[0]), "HEADGATE_CLIENT_KEY": str(certificate[1])}
    return DaemonClient(read_place(f"https://{daemon.address}", environment))


async def served(daemon: Daemon, authority: Authority) -> bytes:
    """The certificate that a new connection is shown."""
    assert daemon.address is not None
    context = ssl.create_default_context(cafile=str(authority.file))
    _, writer = await asyncio.open_connection(*daemon.address, ssl=context)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return bytes(found)


# --- the daemon's certificate ------------------------------------------------------------------------------------------


async def test_orders_over_tls(stage: Stage, authority: Authority) -> None:
    async with stage.daemon() as daemon, client(daemon, authority, "ci") as ours:
        assert (await ours.submit(submission(APPROVAL))).release.created_by == "ci"


async def test_a_daemon_that_nobody_known_has_certified_gets_no_token(stage: Stage, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with stage.daemon() as daemon:
        for place in (client(daemon, other, "ci"), DaemonClient(TcpPlace(f"https://{daemon.address}", "the-ci-token"))):
            async with place as theirs:
                with pytest.raises(DaemonUnreachable, match=r"its certificate is not trusted: .*HEADGATE_CA_FILE"):
                    await theirs.releases()


async def test_plain_http_is_not_answered_on_the_address_of_tls(stage: Stage) -> None:
    async with stage.daemon() as daemon, DaemonClient(TcpPlace(f"http://{daemon.address}", "the-ci-token")) as plain:
        with pytest.raises(DaemonUnreachable):
            await plain.releases()


@pytest.mark.parametrize(
    ("least", "spoken", "is_answered"),
    [
        (TlsVersion.TLS_1_2, ssl.TLSVersion.TLSv1_1, False),
        (TlsVersion.TLS_1_2, ssl.TLSVersion.TLSv1_2, True),
        (TlsVersion.TLS_1_2, ssl.TLSVersion.TLSv1_3, True),
        (TlsVersion.TLS_1_3, ssl.TLSVersion.TLSv1_2, False),
        (TlsVersion.TLS_1_3, ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_old_versions_of_tls_are_not_spoken(
    stage: Stage, authority: Authority, least: TlsVersion, spoken: ssl.TLSVersion, is_answered: bool
) -> None:
    assert stage.tls is not None
    stage.tls = stage.tls.model_copy(update={"minimum_version": least})
    context = ssl.create_default_context(cafile=str(authority.file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = spoken
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with stage.daemon() as daemon, DaemonClient(TcpPlace(f"https://{daemon.address}", "the-ci-token", context)) as ours:
        if is_answered:
            await ours.releases()
            return
        with pytest.raises(DaemonUnreachable):
            await ours.releases()


async def test_a_renewed_certificate_is_shown_without_a_restart(stage: Stage, authority: Authority) -> None:
    async with stage.daemon() as daemon, client(daemon, authority, "ci") as open_before:
        assert daemon.certificate is not None
        await open_before.releases()
        first = await served(daemon, authority)
        authority.issue("127.0.0.1", into="daemon")
        await daemon.certificate.refresh()
        second = await served(daemon, authority)
        assert second != first
        assert await served(daemon, authority) == second
        await open_before.releases()


async def test_a_half_written_renewal_changes_nothing(stage: Stage, authority: Authority, tmp_path: Path) -> None:
    """And is said once."""
    async with stage.daemon() as daemon:
        assert daemon.certificate is not None
        first = await served(daemon, authority)
        _, key = authority.issue("127.0.0.1", into="next")
        with listening("tls.") as heard:
            key.rename(tmp_path / "daemon.key")
            await daemon.certificate.refresh()
            await daemon.certificate.refresh()
            assert await served(daemon, authority) == first
            (tmp_path / "next.crt").rename(tmp_path / "daemon.crt")
            await daemon.certificate.refresh()
        assert await served(daemon, authority) != first
        assert [entry["event"] for entry in heard] == ["tls.unusable", "tls.renewed"]


async def test_whoever_says_so_has_the_files_looked_at_at_once(stage: Stage, authority: Authority) -> None:
    async with stage.daemon() as daemon, anyio.create_task_group() as tasks:
        certificate = daemon.certificate
        assert certificate is not None
        tasks.start_soon(certificate.run, HandClock())
        await anyio.wait_all_tasks_blocked()
        before = certificate.context
        authority.issue("127.0.0.1", into="daemon")
        certificate.look_again()

        async def is_renewed() -> bool:
            return certificate.context is not before

        await until(is_renewed)
        tasks.cancel_scope.cancel()


def test_files_that_cannot_be_used_keep_the_daemon_from_starting(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("127.0.0.1")
    _, other = authority.issue("127.0.0.2")
    (tmp_path / "rubbish").write_text("-----BEGIN CERTIFICATE-----\nrubbish\n")
    for given, said in (
        ({"key_file": other}, "do not belong together"),
        ({"key_file": tmp_path / "nowhere"}, "cannot be read: no such file or directory"),
        ({"certificate_file": tmp_path / "rubbish"}, "is not PEM, or is encrypted"),
        ({"client_ca_file": tmp_path / "nowhere"}, "tls.clientCaFile .*cannot be read"),
    ):
        files: Mapping[str, Path] = {"certificate_file": certificate, "key_file": key, **given}
        with pytest.raises(CertificateUnusable, match=said):
            build_context(ListenTlsSettings(**files))  # type: ignore[arg-type]  # checked by the model


# --- certificates of callers -------------------------------------------------------------------------------------------


async def test_nobody_is_spoken_to_without_a_certificate_of_the_authority(
    stage: Stage, authority: Authority, tmp_path: Path
) -> None:
    clients, strangers = Authority(tmp_path, "clients"), Authority(tmp_path, "strangers")
    mutual(stage, clients, token("ci"))
    async with stage.daemon() as daemon:
        for shown in (None, strangers.issue("ci.example")):
            async with client(daemon, authority, "ci", shown) as theirs:
                with pytest.raises(DaemonUnreachable):
                    await theirs.releases()
        async with client(daemon, authority, "ci", clients.issue("ci.example")) as ours:
            await ours.releases()
        async with client(daemon, authority, "wrong", clients.issue("ci.example")) as ours:
            with pytest.raises(DaemonRefused, match="is not one of those"):
                await ours.releases()


async def test_a_token_that_counts_only_with_its_certificate(stage: Stage, authority: Authority, tmp_path: Path) -> None:
    clients = Authority(tmp_path, "clients")
    mutual(stage, clients, token("ci", certificate="ci.example"), token("ada"))
    async with stage.daemon() as daemon:
        async with client(daemon, authority, "ci", clients.issue("ci.example")) as ours:
            assert (await ours.submit(submission(APPROVAL))).release.created_by == "ci"
        async with client(daemon, authority, "ci", clients.issue("someone.example")) as stolen:
            with pytest.raises(DaemonRefused, match="the token ci counts only together with its client certificate"):
                await stolen.releases()
        async with client(daemon, authority, "ada", clients.issue("someone.example")) as ours:
            await ours.releases()
        async with client(daemon, authority, "", clients.issue("ci.example")) as half:
            with pytest.raises(DaemonRefused, match="a token is needed"):
                await half.releases()


async def test_a_certificate_that_is_enough_has_the_rights_of_its_entry(
    stage: Stage, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority(tmp_path, "clients")
    mutual(stage, clients, Token(name="board", certificate="board", access=Access.READ), Token(name="ops", certificate="ops"))
    async with stage.daemon() as daemon:
        async with client(daemon, authority, "", clients.issue("ops.example", common_name="ops")) as ours:
            assert (await ours.submit(submission(APPROVAL))).release.created_by == "ops"
        async with client(daemon, authority, "", clients.issue("ops")) as ours:
            await ours.releases()
        async with client(daemon, authority, "", clients.issue("board")) as theirs:
            await theirs.releases()
            with pytest.raises(DaemonRefused, match="the token board may read, but not give orders"):
                await theirs.submit(submission(APPROVAL))
        async with client(daemon, authority, "", clients.issue("board.example")) as theirs:
            with pytest.raises(DaemonRefused, match="a token is needed"):
                await theirs.releases()


async def test_who_may_come_without_a_certificate_is_nobody_by_it(stage: Stage, authority: Authority, tmp_path: Path) -> None:
    clients = Authority(tmp_path, "clients")
    mutual(stage, clients, Token(name="ops", certificate="ops"), token("ci"), optional=True)
    async with stage.daemon() as daemon:
        async with client(daemon, authority, "ci") as ours:
            await ours.releases()
        known = ssl.create_default_context(cafile=authority.file)
        async with DaemonClient(TcpPlace(f"https://{daemon.address}", "", known)) as theirs:
            with pytest.raises(DaemonRefused, match="a token is needed"):
                await theirs.releases()


async def test_another_authority_is_taken_over_while_the_daemon_runs(stage: Stage, authority: Authority, tmp_path: Path) -> None:
    before, after = Authority(tmp_path, "clients"), Authority(tmp_path, "next")
    mutual(stage, before, Token(name="ops", certificate="ops"))
    old, new = before.issue("ops", into="old"), after.issue("ops", into="new")
    async with stage.daemon() as daemon:
        assert daemon.certificate is not None
        after.ca.cert_pem.write_to_path(before.file)
        await daemon.certificate.refresh()
        async with client(daemon, authority, "", old) as theirs:
            with pytest.raises(DaemonUnreachable):
                await theirs.releases()
        async with client(daemon, authority, "", new) as ours:
            await ours.releases()


def test_the_names_of_a_certificate() -> None:
    certificate = {
        "subject": ((("organizationName", "ops"),), (("commonName", "ci"),)),
        "subjectAltName": (("DNS", "ci.example"), ("URI", "spiffe://x/ci"), ("email", "ci@x"), ("IP Address", "10.0.0.1")),
    }
    assert names_in(certificate) == {"ci", "ci.example", "spiffe://x/ci", "ci@x"}
    assert names_in(None) == names_in({}) == frozenset()


# --- the command line --------------------------------------------------------------------------------------------------


def test_what_the_command_line_says_of_certificates_that_it_cannot_use(authority: Authority, tmp_path: Path) -> None:
    certificate, _ = authority.issue("ops")
    _, other = authority.issue("other")
    (tmp_path / "rubbish").write_text("rubbish")
    for given, said in (
        ({"HEADGATE_CA_FILE": "/nowhere"}, "HEADGATE_CA_FILE /nowhere cannot be read: no such file or directory"),
        ({"HEADGATE_CA_FILE": str(tmp_path / "rubbish")}, "expected PEM"),
        ({"HEADGATE_CLIENT_CERTIFICATE": str(certificate), "HEADGATE_CLIENT_KEY": str(other)}, "a key that belongs to"),
        ({"HEADGATE_CLIENT_KEY": str(other)}, "without a certificate; put its certificate into HEADGATE_CLIENT_CERTIFICATE"),
    ):
        with pytest.raises(InputInvalid, match=said):
            read_place("https://headgate.example", {"HEADGATE_TOKEN": "x", **given})
    with pytest.raises(InputInvalid, match="are for https://"):
        read_place("http://headgate.example", {"HEADGATE_TOKEN": "x", "HEADGATE_CA_FILE": str(authority.file)})
    with pytest.raises(InputInvalid, match="wants a token"):
        read_place("https://headgate.example", {"HEADGATE_CA_FILE": str(authority.file)})
