"""The small part of JSONPath that CustomResourceDefinitions use: for printer columns and the scale subresource."""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(r"""\.(?P<field>[\w-]+)|\[(?P<index>\d+)\]|\[['"](?P<quoted>[^'"]+)['"]\]|\[(?P<all>\*)\]"""
                   r"""|\[\?\(@\.(?P<key>\w+)\s*==\s*['"](?P<wanted>[^'"]*)['"]\)\]""")


def find_by_path(obj: Any, path: str) -> list[Any]:  # noqa: ANN401 - any JSON value
    """What stands at a path such as `.spec.replicas` or `.status.conditions[?(@.type=="Ready")].status`.

    An empty list when nothing does, or when the path uses more of JSONPath than the above.
    """
    path = path.replace(r"\.", "\0")
    position, found = 0, [obj]
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            return []
        found = [value for each in found for value in _take(each, step)]
        position = step.end()
    return found


def _take(value: Any, step: re.Match[str]) -> list[Any]:  # noqa: ANN401
    field = step["field"] or step["quoted"]
    if field is not None:
        field = field.replace("\0", ".")
        return [value[field]] if isinstance(value, dict) and field in value else []
    if not isinstance(value, list):
        return list(value.values()) if isinstance(value, dict) and step["all"] else []
    if step["all"]:
        return value
    if step["index"] is not None:
        return value[int(step["index"]) : int(step["index"]) + 1]
    return [item for item in value if isinstance(item, dict) and str(item.get(step["key"])) == step["wanted"]]


def set_by_path(obj: dict[str, Any], path: str, value: object) -> None:
    """Put a value at a path of plain fields (`.spec.replicas`), making the mappings on the way."""
    names = [name for name in path.split(".") if name]
    for name in names[:-1]:
        child = obj.get(name)
        if not isinstance(child, dict):
            child = obj[name] = {}
        obj = child
    obj[names[-1]] = value
