"""A little of it with every run of the tests: what was found before, and what is drawn from what means something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing.targets import TARGETS, seeds

FINDINGS = Path(__file__).parent / "findings"
MARKS = b"{{ }} { } [ ] &a *a <<: - : ' \" %2e \xff \xc3\xa9 | > # --- !!int".split(b" ")
WORDS = st.sampled_from([*MARKS, b"\n", b"\0", b" "])


def found() -> Iterator[tuple[str, Path]]:
    for name in TARGETS:
        yield from ((name, path) for path in sorted((FINDINGS / name).glob("*")))


@pytest.mark.parametrize(("name", "path"), list(found()), ids=lambda one: one.name if isinstance(one, Path) else one)
def test_what_was_found_before(name: str, path: Path) -> None:
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_nearly_means_something(name: str, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(seeds(name)) | st.binary(max_size=200))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        until = min(len(content), at + data.draw(st.integers(0, 40)))
        content = content[:at] + data.draw(st.binary(max_size=8) | WORDS) + content[until:]
    TARGETS[name](content)
