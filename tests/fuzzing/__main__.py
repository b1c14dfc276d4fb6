"""`python -m tests.fuzzing [TARGET...] [--minutes N]`: bytes that are led by which code they reach, with atheris
(`pip install atheris`). One target after the other, each in a process of its own. What breaks is kept in
`tests/fuzzing/findings/TARGET/`, where the tests try it again from then on; a corpus is kept in `--corpus`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

FINDINGS = Path(__file__).parent / "findings"
MOST_BYTES = 4_096


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="without one, all of them")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "headgate-fuzzing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        fuzz(chosen.one, chosen.minutes, chosen.corpus)
        return 0
    from tests.fuzzing.targets import TARGETS

    if unknown := set(chosen.targets) - TARGETS.keys():
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    broken = [name for name in chosen.targets or TARGETS if not _run(name, chosen.minutes, chosen.corpus)]
    print(f"broken: {', '.join(broken)}" if broken else "nothing was found")  # noqa: T201
    return 1 if broken else 0


def _run(name: str, minutes: float, corpus: Path) -> bool:
    command = [sys.executable, "-m", "tests.fuzzing", "--one", name, "--minutes", str(minutes), "--corpus", str(corpus)]
    return subprocess.run(command, check=False).returncode == 0


def fuzz(name: str, minutes: float, corpus: Path) -> None:
    """Ends the process: with 0 when nothing was found."""
    import atheris  # Only for those who fuzz.

    # What is to be led by has to be seen being imported; everything else is left as it is, or it would take minutes.
    with atheris.instrument_imports(include=["strategies", "adapters.metrics", "adapters.hooks", "adapters.http"]):
        from tests.fuzzing.targets import TARGETS, seeds
    folder, found = corpus / name, FINDINGS / name
    folder.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (folder / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={round(minutes * 60)}", f"-max_len={MOST_BYTES}", "-timeout=20", f"-artifact_prefix={found}/"]
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(folder)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
