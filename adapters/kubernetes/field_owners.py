"""Giving fields of an object that others go on editing back to their managers, leaf by leaf. Pure.

`templates.returned_fields` gives the whole object back, as it was; that is right for what nobody else may have touched. Here the
others' entries keep what has come to them since, and get back what our write has taken from them.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.kubernetes.templates import MANAGER, JsonObject


def owners_without_us(now: Sequence[JsonObject], before: Sequence[JsonObject]) -> list[JsonObject]:
    """The `managedFields` of an object from which all direct edits of ours are gone again. What we have *applied* is the user's
    declaration, and stays ours."""
    theirs = [one for one in now if not is_our_edit(one)]
    then = {_key(one): one for one in before}
    there = {_key(one) for one in theirs}
    kept = [_with_returned(one, then.get(_key(one))) for one in theirs]
    return [*kept, *(one for one in before if _key(one) not in there)]


def is_our_edit(entry: JsonObject) -> bool:
    return entry.get("manager") == MANAGER and entry.get("operation") == "Update" and not entry.get("subresource")


def _key(entry: JsonObject) -> tuple[object, ...]:
    return tuple(entry.get(name) for name in ("manager", "operation", "subresource", "apiVersion"))


def _with_returned(now: JsonObject, then: JsonObject | None) -> JsonObject:
    if then is None or now.get("subresource"):
        return now
    fields = _united(now.get("fieldsV1") or {}, then.get("fieldsV1") or {})
    return then if fields == then.get("fieldsV1") else {**now, "fieldsV1": fields}


def _united(one: JsonObject, other: JsonObject) -> JsonObject:
    """Two sets of fields as the API server writes them: trees whose branches are names."""
    united = dict(one)
    for name, inner in other.items():
        united[name] = _united(united[name], inner) if isinstance(united.get(name), dict) else inner
    return united
