"""Whole files of Argo and Flagger: what they become was read by a human eye, and is kept.

`python -m tests.strategies.test_importing_examples` writes the kept outputs anew; read the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from strategies.deployfile import SourceText, parse_deploy_text
from strategies.importing.importing import Imported, ImportOptions, import_text
from strategies.importing.origins import Origin
from tests.strategies.importing_stage import import_whole

HERE = Path(__file__).parent / "imports"
FILES = sorted(HERE.glob("*/*.yaml"))


def kept(path: Path) -> Path:
    return path.with_suffix(".golden")


def as_kept(path: Path) -> str:
    made = import_whole(Origin(path.parent.name), path.read_text(), path.name)
    return made.deploy_file + "\n# --- what was said ---\n" + "".join(f"{remark}\n" for remark in made.remarks)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_whole_file_becomes_what_was_read_and_kept(path: Path) -> None:
    assert as_kept(path) == kept(path).read_text(), "python -m tests.strategies.test_importing_examples"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_same_file_with_the_manifests_beside_it(path: Path) -> None:
    made = import_text(Origin(path.parent.name), path.read_bytes(), path.name, ImportOptions(folder="beside"))
    assert isinstance(made, Imported)

    def read(asked: str) -> list[SourceText]:
        folder, _, name = asked.partition("/")
        return [SourceText(asked, made.manifests[name])] if folder == "beside" else []

    loaded = parse_deploy_text(made.deploy_file, "deploy.yaml", read)
    assert loaded.problems.errors == ()
    inline = import_whole(Origin(path.parent.name), path.read_text(), path.name)
    assert "inline" not in made.deploy_file.split("strategies:")[0]
    assert [remark.field for remark in made.remarks] == [remark.field for remark in inline.remarks]


def main() -> None:
    for path in FILES:
        kept(path).write_text(as_kept(path))


if __name__ == "__main__":
    main()
