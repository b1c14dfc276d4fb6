"""The settings file: what it means, where it is looked for, and what is said of one that is wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapters.access import Access, Scope, Verb
from adapters.settings import (
    Address,
    FileSettings,
    LogFormat,
    PrometheusSettings,
    ScrapeSettings,
    Surroundings,
    TlsVersion,
    WatchBreadth,
    default_socket,
    default_store,
)
from adapters.settings_admission import limits_of, windows_of
from adapters.settings_reader import SettingsInvalid, load_settings, parse_settings
from adapters.settings_store import StoreAddress
from engine.admission import Freeze, Limits, Weekday, Window, Windows
from engine.retention import Retention
from tests.cli.terminal import ROOT

BERLIN = ZoneInfo("Europe/Berlin")
HASH = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
DATABASE = "store: postgresql://db.example/headgate"
WHOLE = f"""
store: state/headgate.db
socket: ~/headgate.sock
listen: "[::1]:8440"
tokens:
  - {{name: ci, sha256: {HASH}, roles: [release-managers], access: read}}
publicUrl: https://headgate.example/hg/
tls: {{certificateFile: tls.crt, keyFile: ~/tls.key, clientCaFile: /etc/clients.pem, minimumVersion: "1.3"}}
accounts:
  prod:
    kubeconfig: prod.kubeconfig
    context: west
    watch: namespace
    limit: 2
    windows: [{{days: [fri, sat], from: "22:00", to: "24:00", timezone: Asia/Kolkata}}]
    freezes: [{{from: 2026-11-26T00:00, to: 2026-11-30 12:00:00}}]
  here: {{inCluster: true}}
  usual: {{}}
metricProviders:
  prometheus:
    type: prometheus
    url: https://prometheus.example/
    basic: {{username: ada, password: {{file: ~/password}}}}
    tls: {{caFile: ca.pem}}
    timeout: 2.5
  pages: {{type: scrape, urls: ["http://a/metrics"], bearer: {{env: TOKEN}}}}
secrets:
  hook: {{file: hook.token}}
webhooks: {{allow: [169.254.169.254], deny: [10.0.0.0/8, "fd00::/8"]}}
commands:
  smoke: {{argv: [bin/smoke, --fast], directory: ~/tests, secretEnv: {{KEY: {{file: key}}}}, timeout: 60}}
  soak: {{argv: [soak], env: {{USERS: "40"}}}}
limits: {{rollouts: 10}}
deployFolders: [deploy.d, /srv/deploy, ~/deploy, ./deploy.d]
manifestFolders: [manifests, /srv/manifests]
windows: [{{from: 09:00, to: 17:00}}]
freezes: [{{from: 2026-12-24, to: 2027-01-02T06:30, timezone: Europe/Berlin, reason: the holidays}}]
retention: {{days: 30, releases: 5}}
log: {{level: warning, format: json}}
"""


def around(home: Path = Path("/home/ada"), *, is_root: bool = False, **environment: str) -> Surroundings:
    return Surroundings(environment, home, is_root)


def problems_of(text: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        parse_settings(text.encode(), "headgate.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "headgate.yaml"
    path.write_text(WHOLE)
    settings = load_settings(path, around())
    assert settings.source == path
    assert settings.store == tmp_path / "state/headgate.db"
    assert settings.socket == Path("/home/ada/headgate.sock")
    assert settings.listen == Address("::1", 8440)
    assert str(settings.listen) == "[::1]:8440"
    tls = settings.tls
    assert tls is not None
    assert (tls.certificate_file, tls.key_file) == (tmp_path / "tls.crt", Path("/home/ada/tls.key"))
    assert (tls.client_ca_file, tls.minimum_version) == (Path("/etc/clients.pem"), TlsVersion.TLS_1_3)
    token = settings.tokens[0]
    assert (token.name, token.roles, token.access) == ("ci", ("release-managers",), Access.READ)
    assert settings.public_url == "https://headgate.example/hg"
    assert settings.accounts["prod"].kubeconfig == tmp_path / "prod.kubeconfig"
    assert settings.accounts["prod"].watch is WatchBreadth.NAMESPACE
    assert settings.accounts["here"].in_cluster
    assert settings.accounts["usual"].kubeconfig is None
    prometheus, pages = settings.metric_providers["prometheus"], settings.metric_providers["pages"]
    assert isinstance(prometheus, PrometheusSettings)
    assert prometheus.basic is not None
    assert prometheus.basic.password.file == Path("/home/ada/password")
    assert prometheus.tls is not None
    assert (prometheus.tls.ca_file, prometheus.timeout) == (tmp_path / "ca.pem", 2.5)
    assert isinstance(pages, ScrapeSettings)
    assert (pages.urls, pages.interval) == (("http://a/metrics",), 5.0)
    assert list(map(str, settings.webhooks.allow)) == ["169.254.169.254/32"]
    assert list(map(str, settings.webhooks.deny)) == ["10.0.0.0/8", "fd00::/8"]
    assert settings.secrets["hook"].file == tmp_path / "hook.token"
    smoke, soak = settings.commands["smoke"], settings.commands["soak"]
    assert (smoke.argv, smoke.directory) == ((str(tmp_path / "bin/smoke"), "--fast"), Path("/home/ada/tests"))
    assert (smoke.secret_env["KEY"].file, smoke.timeout) == (tmp_path / "key", 60.0)
    assert (soak.argv, soak.env, soak.timeout) == (("soak",), {"USERS": "40"}, None)
    assert settings.log.format is LogFormat.JSON
    assert settings.retention.as_retention() == Retention(timedelta(days=30), completed=5)
    assert settings.deploy_folders == (tmp_path / "deploy.d", Path("/srv/deploy"), Path("/home/ada/deploy"))
    assert settings.manifest_folders == (tmp_path / "manifests", Path("/srv/manifests"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://headgate@db.example:5433/headgate?sslmode=verify-full&sslrootcert=/etc/headgate/ca.pem",
        "postgres://one:5432,two:5432/headgate",
        "postgresql://[::1]:5432/headgate",
        "postgresql:///headgate?host=/run/postgresql",
    ],
)
def test_a_store_may_be_a_database(tmp_path: Path, url: str) -> None:
    path = tmp_path / "headgate.yaml"
    path.write_text(f"store: {url}\nstorePassword: {{file: db.password}}")
    settings = load_settings(path, around())
    assert settings.store == StoreAddress(url)
    assert str(settings.store) == url
    assert settings.store_password is not None
    assert settings.store_password.file == tmp_path / "db.password"
    assert settings.high_availability is None


def test_daemons_that_take_turns_have_the_times_of_other_candidates(tmp_path: Path) -> None:
    path = tmp_path / "headgate.yaml"
    path.write_text(f"{DATABASE}\naccounts: {{tools: {{}}}}\nhighAvailability: {{account: tools, namespace: headgate}}")
    found = load_settings(path, around()).high_availability
    assert found is not None
    assert (found.account, found.namespace, found.name) == ("tools", "headgate", "headgate")
    assert (found.lease_duration, found.renew_deadline, found.retry_period) == (15, 10.0, 2.0)


def test_limits_windows_and_freezes_as_the_engine_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "headgate.yaml"
    path.write_text(WHOLE)
    settings = load_settings(path, around())
    assert limits_of(settings) == Limits(10, {"prod": 2})
    windows = windows_of(settings)
    assert set(windows) == {"prod", "here", "usual"}
    holidays = Freeze(
        datetime.fromisoformat("2026-12-24"), datetime.fromisoformat("2027-01-02T06:30"), BERLIN, "the holidays"
    )
    assert windows["here"] == Windows((Window(time(9), time(17), ZoneInfo("UTC")),), (holidays,))
    own = Window(time(22), time(), ZoneInfo("Asia/Kolkata"), frozenset({Weekday.FRI, Weekday.SAT}))
    sales = Freeze(
        datetime.fromisoformat("2026-11-26"), datetime.fromisoformat("2026-11-30T12:00"), ZoneInfo("UTC")
    )
    assert windows["prod"] == Windows((own,), (holidays, sales))


def test_what_a_scope_does_not_say_is_not_limited_and_read_only_goes_with_scopes() -> None:
    text = f"""
tokens:
  - name: ci
    sha256: {HASH}
    scopes: [{{applications: [shop-*], verbs: [deploy, rollback]}}, {{targets: [staging]}}]
    expiresAt: 2030-01-31T19:00:00+01:00
  - {{name: board, sha256: {HASH}, access: read, scopes: [{{accounts: [prod]}}, {{verbs: [read]}}]}}
  - {{name: all, sha256: {HASH}}}
"""
    ci, board, everything = parse_settings(text.encode(), "headgate.yaml").tokens
    assert ci.scopes == (
        Scope(applications=("shop-*",), targets=("*",), accounts=("*",), verbs=(Verb.DEPLOY, Verb.ROLLBACK)),
        Scope(applications=("*",), targets=("staging",), accounts=("*",), verbs=tuple(Verb)),
    )
    assert ci.expires_at == datetime(2030, 1, 31, 18, tzinfo=UTC)
    assert [scope.accounts for scope in board.scopes] == [("prod",), ("*",)]
    assert (everything.scopes, everything.expires_at) == ((), None)


def test_the_commented_file_is_the_defaults_and_right_when_its_comments_are_taken_away(tmp_path: Path) -> None:
    example = ROOT / "config" / "headgate.yaml"
    as_it_is = load_settings(example, around())
    assert (as_it_is.accounts, as_it_is.tokens, as_it_is.listen) == ({}, (), None)
    is_prose = re.compile(r"# \S.*|#").fullmatch
    lines = ["" if is_prose(line) else line.removeprefix("#") for line in example.read_text().splitlines()]
    text = "\n".join(lines)
    found = parse_settings(text.encode(), "headgate.yaml")
    assert set(found.accounts) == {"prod-west", "here"}
    assert set(found.metric_providers) == {"prometheus", "pages", "datadog", "newrelic", "service"}
    assert set(found.secrets) == {"ci-token", "chat-hook"}
    assert set(found.commands) == {"smoke"}
    assert [token.access for token in found.tokens] == [Access.FULL, Access.FULL, Access.READ]
    assert [len(token.scopes) for token in found.tokens] == [2, 0, 0]
    assert found.model_fields_set == set(type(found).model_fields)


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    assert load_settings(None, around(home)).source is None
    own = home / ".config/headgate/headgate.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("store: own.db")
    assert load_settings(None, around(home)).store == own.parent / "own.db"
    beside = tmp_path / "headgate.yaml"
    beside.write_text("store: beside.db")
    assert load_settings(None, around(home)).store == tmp_path / "beside.db"
    named = tmp_path / "named.yaml"
    named.write_text("store: named.db")
    assert load_settings(None, around(home, HEADGATE_CONFIG=str(named))).store == tmp_path / "named.db"
    assert load_settings(beside, around(home, HEADGATE_CONFIG=str(named))).store == tmp_path / "beside.db"


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    for options in ((tmp_path / "none.yaml", around()), (None, around(HEADGATE_CONFIG=str(tmp_path / "none.yaml")))):
        with pytest.raises(SettingsInvalid, match=r"none.yaml:1:1: the settings file cannot be read: no such file"):
            load_settings(*options)


def test_where_things_are_by_default() -> None:
    assert default_store(around()) == Path("/home/ada/.local/share/headgate/headgate.db")
    assert default_store(around(XDG_DATA_HOME="/data")) == Path("/data/headgate/headgate.db")
    assert default_store(around(is_root=True)) == Path("/var/lib/headgate/headgate.db")
    assert default_store(around(STATE_DIRECTORY="/var/lib/private/headgate:/x")) == Path(
        "/var/lib/private/headgate/headgate.db"
    )
    assert default_socket(around(XDG_RUNTIME_DIR="/run/user/7")) == Path("/run/user/7/headgate.sock")
    assert default_socket(around()) == Path("/home/ada/.local/share/headgate/headgate.sock")
    assert default_socket(around(is_root=True, XDG_RUNTIME_DIR="/run/user/0")) == Path("/run/headgate/headgate.sock")
    assert default_socket(around(RUNTIME_DIRECTORY="/run/hg")) == Path("/run/hg/headgate.sock")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stroe: x", '1:1: unknown field "stroe" in the settings file; did you mean "store"?'),
        ("- a", '1:1: this is not a settings file; expected a mapping, such as "accounts: ..."'),
        ("log: {level: info", ":1:"),
        ("log: {}\n---\nlog: {}", "3:1: a second document begins here; a settings file is one document"),
        ("log: {}\nlog: {}", '2:1: "log" stands here twice, first at 1:1; remove one of the two'),
        (
            "listen: 127.0.0.1:80",
            '1:1: "listen" opens the API to the network, so it needs at least one entry in "tokens"',
        ),
        ("listen: nowhere", '1:9: listen is not an address; expected "host:port"'),
        ("listen: a:99999", '1:9: listen is not an address; expected "host:port"'),
        ("listen: 8440", "1:9: listen is not an address; expected"),
        ("publicUrl: headgate.example", '1:12: publicUrl is not an address; expected "https://host"'),
        ("publicUrl: https://ada:pw@headgate.example", "1:12: publicUrl is not an address"),
        (
            "accounts:\n  prod: {kubeconfg: x}",
            '2:10: unknown field "kubeconfg" in accounts.prod; did you mean "kubeconfig"?',
        ),
        ("accounts:\n  a b: {}", "accounts.a b is not a name; expected letters, digits, dots, dashes and underscores"),
        ("accounts:\n  prod:", "2:3: accounts.prod is empty; give it a value, or remove the key"),
        ("accounts: {a: {inCluster: true, context: x}}", 'accounts.a is "inCluster" and names a kubeconfig or context'),
        ("accounts: {a: {watch: all}}", 'a.watch is the text "all"; expected cluster or namespace'),
        (
            "metricProviders: {a: {url: x}}",
            'metricProviders.a has no "type"; add one: datadog, json, newrelic, prometheus or scrape',
        ),
        (
            "metricProviders: {a: {type: promethus}}",
            'a.type is the text "promethus"; expected datadog, json, newrelic, prometheus or scrape',
        ),
        ("metricProviders: {a: {type: prometheus}}", 'metricProviders.a has no "url"; add it'),
        ("metricProviders: {a: {type: scrape, urls: []}}", "a.urls is a list; expected at least one entry"),
        (
            "metricProviders: {a: {type: scrape, urls: [http://x], ulrs: 1}}",
            'unknown field "ulrs" in metricProviders.a; did you mean "urls"?',
        ),
        ("metricProviders: {a: {type: prometheus, url: http://x, timeout: 0}}", "a.timeout is 0; expected more than 0"),
        (
            "metricProviders: {a: {type: prometheus, url: http://x, bearer: {}}}",
            'a.bearer has to say where the secret is, by "file" or by "env"',
        ),
        (
            f"tokens: [{{name: a, sha256: {HASH}}}, {{name: a, sha256: {HASH}}}]",
            'two tokens are called "a"; give each its own name',
        ),
        (
            "tokens: [{name: a, sha256: hunter2}]",
            "tokens[0].sha256 is not the SHA-256 of a token; make one with: printf",
        ),
        (
            "secrets: {a: {file: x, env: y}}",
            'secrets.a has to say where the secret is, by "file" or by "env", one of the two',
        ),
        ("commands: {a: {argv: []}}", "1:22: a.argv is a list; expected at least one entry"),
        ("commands: {a: {argv: rm -rf /}}", "a.argv is the text"),
        ("commands: {a: {argv: [x], shell: true}}", 'unknown field "shell" in commands.a'),
        ("commands: {a: {argv: [x], env: {A-B: y}}}", "is not the name of an environment variable"),
        ("commands: {a: {argv: [x], env: {HEADGATE_TARGET: y}}}", "is a variable that Headgate itself gives the program"),
        ("commands: {a: {argv: [x], secretEnv: {A: hunter2}}}", "has to say where the secret is"),
        (
            "commands: {a: {argv: [x], env: {A: y}, secretEnv: {A: {env: B}}}}",
            'commands.a has A both in "env" and in "secretEnv"; keep one of them',
        ),
        ("limits: {rollouts: 0}", "1:20: limits.rollouts is 0; expected 1 or more"),
        ("retention: {days: 0}", "1:19: retention.days is 0; expected 1 or more"),
        ("retention: {releases: 1.5}", "1:23: retention.releases is 1.5; expected a whole number"),
        ("retention: {days: 90d}", 'retention.days is the text "90d"; expected a whole number'),
        ("retention: {release: 5}", 'unknown field "release" in retention; did you mean "releases"?'),
        ("accounts: {a: {limit: many}}", 'a.limit is the text "many"; expected a whole number'),
        ("windows: [{from: 9:00, to: 17:00}]", '1:18: windows[0].from is not a time of the day; expected hours and'),
        ("windows: [{from: 09:00, to: 25:00}]", '1:29: windows[0].to is not a time of the day; expected hours and'),
        ("windows: [{from: 09:00, to: 09:00}]", 'for the whole day write from "00:00" to "24:00"'),
        ("windows: [{form: 09:00, to: 17:00}]", 'unknown field "form" in windows[0]; did you mean "from"?'),
        ("windows: [{begins: 09:00, to: 17:00}]", 'unknown field "begins" in windows[0]'),
        ("windows: [{to: 17:00}]", 'windows[0] has no "from"; add it'),
        ("windows: [{days: [], from: 09:00, to: 17:00}]", "windows[0].days is a list; expected at least one entry"),
        ("windows: [{days: [monday], from: 09:00, to: 17:00}]", 'days[0] is the text "monday"; expected mon, tue,'),
        (
            "windows: [{from: 09:00, to: 17:00, timezone: Berlin}]",
            'windows[0].timezone is not a time zone that is known here; did you mean "Europe/Berlin"?',
        ),
        (
            "windows: [{from: 09:00, to: 17:00, timezone: Nowhere/Qqqqqq}]",
            'is not a time zone that is known here; expected a name such as "Europe/Berlin" or "UTC"',
        ),
        ("freezes: [{from: 2026-12-24, to: 2026-12-32}]", "1:34: freezes[0].to is not a date; expected a day, or a day"),
        ("freezes: [{from: 2026-12-24, to: 2026-12-24}]", "freezes[0] has its end before its beginning, or at it"),
        ("accounts: {a: {freezes: [{from: x, to: 2026-12-24}]}}", "1:33: freezes[0].from is not a date"),
        (
            f"tokens: [{{name: a, sha256: {HASH}, scopes: [{{verbs: [deploy, aprove]}}]}}]",
            'promote, abort, rollback or retry; did you mean "approve"?',
        ),
        (
            f"tokens: [{{name: a, sha256: {HASH}, scopes: [{{verbs: [fly]}}]}}]",
            '1:112: scopes[0].verbs[0] is the text "fly"; expected read, deploy,',
        ),
        (
            f"tokens: [{{name: a, sha256: {HASH}, scopes: [{{target: [x]}}]}}]",
            'unknown field "target" in tokens[0].scopes[0]; did you mean "targets"?',
        ),
        (f"tokens: [{{name: a, sha256: {HASH}, scopes: []}}]", "tokens[0].scopes has no entry; add one, or remove the key"),
        (
            f"tokens: [{{name: a, sha256: {HASH}, scopes: [{{verbs: []}}]}}]",
            "scopes[0].verbs has no entry; add one, or remove the key",
        ),
        (
            f"tokens: [{{name: a, sha256: {HASH}, scopes: [{{targets: staging}}]}}]",
            'scopes[0].targets is the text "staging"; expected a list',
        ),
        (
            f'tokens: [{{name: a, sha256: {HASH}, scopes: [{{accounts: [" x"]}}]}}]',
            "accounts[0] is not a pattern; expected a name, or one with wildcards",
        ),
        (
            f"tokens: [{{name: a, sha256: {HASH}, access: read, scopes: [{{verbs: [deploy]}}]}}]",
            'tokens[0] has "access: read", and a scope with other verbs than read; remove one of the two',
        ),
        (
            f"tokens: [{{name: a, sha256: {HASH}, expiresAt: 2030-01-31T18:00:00}}]",
            'tokens[0].expiresAt is not an instant; expected date, time and zone, such as "2030-01-31T18:00:00Z"',
        ),
        (f"tokens: [{{name: a, sha256: {HASH}, expiresAt: soon}}]", "tokens[0].expiresAt is not an instant"),
        (f'tokens: [{{name: a, sha256: {HASH}, roles: [" "]}}]', "tokens[0].roles[0] is not a role; expected the text"),
        ("deployFolders: deploy.d", '1:16: deployFolders is the text "deploy.d"; expected a list'),
        ("webhooks: {deny: [10.0.0.7/8]}", "1:19: webhooks.deny[0] is not a network; expected an address, or a network such as"),
        ("webhooks: {deny: [10.0.0.7/8]}", "did you mean 10.0.0.0/8?"),
        ("webhooks: {allow: [example.com]}", "1:20: webhooks.allow[0] is not a network"),
        ("webhooks: {allow: 10.0.0.0/8}", 'webhooks.allow is the text "10.0.0.0/8"; expected a list'),
        ("tls: {certificateFile: a, keyFile: b}", '1:1: "tls" is of the TCP address, and there is none; add "listen"'),
        ("tls: {certificateFile: a}", '1:1: tls has no "keyFile"; add it'),
        ("tls: {certificateFile: a, keyFile: b, minimumVersion: 1.1}", "tls.minimumVersion is 1.1; expected 1.2 or 1.3"),
        ("tls: {certificateFile: a, keyFile: b, clientCertificates: optional}", 'has "clientCertificates" without "client'),
        (f"tokens: [{{name: a, sha256: {HASH}, certificate: a}}]", "tokens[0].certificate needs somebody to vouch for"),
        (f"tokens: [{{name: a, sha256: {HASH}, certificate: '*'}}]", "tokens[0].certificate is not a name of a certificate"),
        ("tokens: [{name: a}]", 'tokens[0] has neither "sha256" nor "certificate"'),
        ("tokens: [{name: a, certificate: x}, {name: b, certificate: x}]", "tokens[1].certificate needs"),
        (
            "tls: {clientCaFile: c}\ntokens: [{name: a, certificate: x}, {name: b, certificate: x}]",
            '2:33: two tokens are known by the certificate "x" alone; keep one of them',
        ),
        ("webhooks: {alow: []}", 'unknown field "alow" in webhooks; did you mean "allow"?'),
        ("manifestFolders: {a: b}", "1:18: manifestFolders is a mapping; expected a list"),
        ("store: [a]", '1:8: store is neither a path nor an address'),
        ("store: mysql://db/headgate", "store is an address of a kind that no store is at; expected a path, or"),
        ("store: postgresql://a:hunter2@db/headgate", '1:8: store has a password in it, and secrets are never here'),
        ("store: postgresql://db/headgate?password=hunter2", "store has a password in it, and secrets are never here"),
        ("store: postgresql://db", "store has no database; expected"),
        ("store: postgresql://db:port/headgate", "store has no host that can be read"),
        ("store: postgresql://db/headgate?sslmod=require", 'the option "sslmod", which is not known; did you mean "sslmode"?'),
        ("store: postgresql://db/headgate?sslmode=full", 'has the sslmode "full"; expected disable, allow,'),
        ("store: postgresql://db/headgate?sslrootcert=ca.pem", 'has a relative path in its option "sslrootcert"'),
        ("storePassword: {env: A}", '1:1: "storePassword" is for a store that is a PostgreSQL database; name one in "store"'),
        ("store: a.db\nstorePassword: {env: A}", '2:1: "storePassword" is for a store that is a PostgreSQL database'),
        ("store: postgresql://db/headgate\nstorePassword: hunter2", "2:16: storePassword has to say where the secret is"),
        (
            "highAvailability: {account: a, namespace: tools}",
            '1:1: "highAvailability" needs a store that every daemon reaches; name a PostgreSQL database in "store"',
        ),
        (f"{DATABASE}\nhighAvailability: {{}}", 'highAvailability has no "account"; add it'),
        (f"{DATABASE}\nhighAvailability: {{account: a}}", 'highAvailability has no "namespace"; add it'),
        (
            f"{DATABASE}\naccounts: {{b: {{}}}}\nhighAvailability: {{account: a, namespace: tools}}",
            '3:29: highAvailability.account is "a", which is not one of the accounts; add it to "accounts"',
        ),
        (f"{DATABASE}\nhighAvailability: {{account: a, namespace: A B}}", "highAvailability.namespace is not a name of"),
        (
            f"{DATABASE}\naccounts: {{a: {{}}}}\nhighAvailability: {{account: a, namespace: x, leaseDuration: 10}}",
            "has leaseDuration 10, renewDeadline 10 and retryPeriod 2; the first has to be longer than the second",
        ),
        (f"{DATABASE}\nhighAvailability: {{account: a, namespace: x, retryPeriod: 9}}", "renewDeadline 10 and retryPeriod 9"),
        (f"{DATABASE}\nhighAvailability: {{account: a, namespace: x, leaseDuration: 0}}", "Duration is 0; expected 1 or more"),
        ("log: {level: loud}", '1:14: log.level is the text "loud"; expected debug, info, warning or error'),
    ],
)
def test_what_is_wrong_is_said_at_its_place(text: str, sentence: str) -> None:
    found = problems_of(text)
    assert any(sentence in problem for problem in found), found


def test_a_mistake_in_a_list_is_the_only_thing_that_is_said_of_it() -> None:
    assert len(problems_of(f"tokens: [{{name: a, sha256: {HASH}, scopes: [{{verbs: [aprove], targets: [' ']}}]}}]")) == 2


def test_every_problem_comes_at_once_in_the_order_of_the_file() -> None:
    found = problems_of("stroe: x\naccounts: {a: {watch: all}}\nlog: {level: loud, format: 5}")
    assert [problem.split(":")[1] for problem in found] == ["1", "2", "3", "3"]


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    for text in (
        "tokens: [{name: a, sha256: hunter2}]",
        "store: postgresql://ada:hunter2@db/headgate",
        "store: postgresql://db/headgate?sslpassword=hunter2&sslmode=hunter3",
        "store: postgresql://db/headgate\nstorePassword: hunter2",
    ):
        assert "hunter2" not in "".join(problems_of(text))


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(SettingsInvalid, match=r"headgate.yaml:2:1: byte 9 \(0xff\) is not UTF-8"):
        parse_settings(b"log: {}\n\xff", "headgate.yaml")


_KEYS = ["type", "url", "file", "from", "to", "days", "timezone", "a"]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from([field.alias or name for name, field in FileSettings.model_fields.items()]),
        _VALUES,
        max_size=4,
    )
)
def test_values_at_random_are_read_or_refused_in_our_words(values: dict[str, object]) -> None:
    try:
        parse_settings(yaml.safe_dump(values, allow_unicode=False).encode(), "headgate.yaml")
    except SettingsInvalid as error:
        for problem in error.problems:
            assert "another value" not in problem.message, problem
            assert "Input should" not in problem.message
            assert problem.line >= 1
