from __future__ import annotations

from tests.http.conftest import daemon as daemon
from tests.http.conftest import stage as stage
