from __future__ import annotations

from pathlib import Path

import pytest

from tests.http.conftest import daemon as daemon
from tests.http.conftest import stage as stage


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings and no daemon but those of the test."""
    for name in ("HEADGATE_CONFIG", "HEADGATE_SERVER", "HEADGATE_TOKEN", "GITHUB_OUTPUT", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)
