"""Which story is told of which cases, and on which planes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.routers.cases import CASES, RouterCase


def story(
    of: Callable[[RouterCase], bool] = lambda case: True, *, real: Callable[[RouterCase], bool] | bool = True
) -> pytest.MarkDecorator:
    """The story is told of every such case on the embedded cluster and, if nothing else is said, of those that can be had there
    on a real one."""
    is_real = real if callable(real) else lambda case: bool(real)
    told = [pytest.param("embedded", case, id=f"embedded-{case.name}") for case in CASES if of(case)]
    told += [
        pytest.param("real", case, id=f"real-{case.name}", marks=pytest.mark.real)
        for case in CASES
        if case.on_real and of(case) and is_real(case)
    ]
    return pytest.mark.parametrize(("plane", "case"), told)
