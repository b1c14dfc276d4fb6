"""Which names a deploy file takes. Those of an input may be others: Kubernetes lets some objects have longer ones."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def is_service_name(text: str) -> bool:
    return _SERVICE.fullmatch(text) is not None
