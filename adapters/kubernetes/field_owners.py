"""Giving fields of an object that others go on editing back to their managers, leaf by leaf. Pure.

`templates.returned_fields` gives the whole object back, and with it what we had applied before. Here what we have applied stays
as it is; the others' entries keep what has come to them since, and get back what our write has taken from them.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.kubernetes.templates import MANAGER, JsonObject, manager_key, with_returned


def owners_without_us(now: Sequence[JsonObject], before: Sequence[JsonObject]) -> list[JsonObject]:
    """The `managedFields` of an object from which all direct edits of ours are gone again. What we have *applied* is the user's
    declaration, and stays ours."""
    theirs = [one for one in now if not is_our_edit(one)]
    then = {manager_key(one): one for one in before}
    there = {manager_key(one) for one in theirs}
    kept = [with_returned(one, then.get(manager_key(one))) for one in theirs]
    return [*kept, *(one for one in before if manager_key(one) not in there)]


def is_our_edit(entry: JsonObject) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Update" and not entry.get("subresource")
