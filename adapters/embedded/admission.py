"""What happens to an object between the request and the storage: defaults, ownership of fields, validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import Resource

if TYPE_CHECKING:
    from adapters.embedded.storage import Storage


class Admission:
    """Prepares each write of one storage; raises Invalid for what must not be stored."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def admit_new(self, resource: Resource, fresh: JsonObject, manager: str | None) -> None:
        """Complete and check an object that is about to be created."""

    def admit_change(
        self, resource: Resource, fresh: JsonObject, old: JsonObject, subresource: str, manager: str | None
    ) -> None:
        """Complete and check an object that is about to replace its former version."""
