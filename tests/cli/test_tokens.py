"""Making tokens, and being told in time that they end."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from adapters.access import expires_soon, has_expired
from adapters.settings_reader import parse_settings
from tests.cli.terminal import headgate, start, wait
from tests.clocks import START


def test_a_token_is_shown_once_and_its_lines_go_into_the_settings_as_they_are() -> None:
    said = headgate("token", "new", "ci", "--role", "Release Manager", "--role", "on")
    assert (said.code, said.err) == (0, "")
    secret = re.search(r"^  (headgate_[\w-]{43})$", said.out, re.MULTILINE)
    assert secret is not None
    lines = said.out[said.out.index("  - name: ci") :]
    (read,) = parse_settings(f"tokens:\n{lines}".encode(), "headgate.yaml").tokens
    assert (read.name, read.roles) == ("ci", ("Release Manager", "on"))
    assert read.sha256 == hashlib.sha256(secret[1].encode()).hexdigest()
    assert secret[1] not in lines
    assert "reads them when it starts, and at a SIGHUP" in said.out


def test_as_data_for_scripts_and_never_the_same_twice() -> None:
    first, second = (headgate("token", "new", "ci", "-o", "json").json for _ in range(2))
    assert first["settings"] == {"name": "ci", "sha256": hashlib.sha256(first["token"].encode()).hexdigest()}
    assert first["token"] != second["token"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a b",), "NAME 'a b' is not a name; expected letters, digits, dots"),
        (("ci", "--role", " "), "--role ' ' is not a role; expected the text"),
    ],
)
def test_what_the_settings_would_refuse_is_refused_at_once(arguments: tuple[str, ...], sentence: str) -> None:
    said = headgate("token", "new", *arguments)
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err


@pytest.mark.parametrize(
    ("ends", "expired", "soon"),
    [
        (timedelta(0), True, True),
        (timedelta(seconds=1), False, True),
        (timedelta(days=7), False, True),
        (timedelta(days=7, seconds=1), False, False),
    ],
)
def test_the_end_of_a_token_is_near_for_a_week(ends: timedelta, expired: bool, soon: bool) -> None:
    assert (has_expired(START + ends, START), expires_soon(START + ends, START)) == (expired, soon)


def test_a_token_without_an_end_has_none() -> None:
    assert (has_expired(None, START), expires_soon(None, START)) == (False, False)


@pytest.mark.process
def test_a_daemon_that_starts_warns_of_tokens_that_end(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ends = {"past": now - timedelta(days=1), "near": now + timedelta(days=3), "far": now + timedelta(days=30)}
    lines = [f"  - {{name: {name}, sha256: {'0' * 64}, expiresAt: {at.isoformat()}}}\n" for name, at in ends.items()]
    settings = tmp_path / "headgate.yaml"
    settings.write_text("store: a.db\nsocket: a.sock\nlog: {format: json}\ntokens:\n" + "".join(lines))
    daemon = start("serve", "--config", settings, model=True)
    try:
        assert daemon.stderr is not None
        told = [json.loads(line) for line in islice(daemon.stderr, 3)]
    finally:
        daemon.terminate()
        rest = wait(daemon)
    assert [(line["event"], line.get("token")) for line in told] == [
        ("daemon.started", None),
        ("token.expired", "past"),
        ("token.expires_soon", "near"),
    ]
    assert "headgate token new near" in told[2]["advice"]
    assert "far" not in rest.err
