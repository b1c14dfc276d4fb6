"""Saying something to Headgate, and what comes back."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adapters.cli.composition import Connect
from adapters.cli.main import main

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one document that it has to be."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document

    @property
    def yaml(self) -> dict[str, Any]:
        document = yaml.safe_load(self.out)
        assert isinstance(document, dict)
        return document


def headgate(*arguments: object, connect: Connect | None = None) -> Said:
    """In this process. Not for commands that listen to signals."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments], connect=connect)
    return Said(int(code), out.getvalue(), err.getvalue())


async def asked(*arguments: object) -> Said:
    """Beside the loop that the daemon of the test runs on."""
    return await asyncio.to_thread(headgate, *arguments)


def command_line(*arguments: object, model: bool = False) -> list[str]:
    """A process of its own; with `model`, on a model in the place of the clusters."""
    module = "tests.cli.model_main" if model else "adapters.cli.main"
    return [sys.executable, "-m", module, *map(str, arguments)]


def start(*arguments: object, model: bool = False, cwd: Path | None = None, **options: Any) -> subprocess.Popen[str]:
    environment: Mapping[str, str] = options.pop("env", {})
    return subprocess.Popen(
        command_line(*arguments, model=model),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait(process: subprocess.Popen[str], within: float = 30.0) -> Said:
    """To its end. One that goes on is ended here, so that its pipes are not found open in the middle of another test."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it did not end within {within:g} s; it said:\n{out}\n{err}") from None
    return Said(process.returncode, out, err)
