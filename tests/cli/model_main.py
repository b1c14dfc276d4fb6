"""`python -m tests.cli.model_main ...`: the command line as a process, with a model in the place of the clusters."""

from __future__ import annotations

import sys
from pathlib import Path

from adapters.cli.main import main
from tests.http.stage import Stage

if __name__ == "__main__":
    sys.exit(main(connect=Stage(Path()).connect))
