"""Objects as a `Table`: the rows that kubectl prints, with the columns that the server chooses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from adapters.embedded.custom_kinds import CustomVersion
from adapters.embedded.json_objects import JsonObject, metadata_of
from adapters.embedded.json_paths import find_by_path
from adapters.embedded.resources import Resource
from adapters.embedded.table_columns import AGE, NAME, Column, age_since, columns_of

PARTIAL_VERSION = "meta.k8s.io/v1"


def make_table(
    columns: Iterable[Column],
    objects: Iterable[JsonObject],
    metadata: JsonObject,
    now: datetime,
    *,
    include: str = "Metadata",
    with_columns: bool = True,
) -> JsonObject:
    """A table of objects.

    Args:
        include: what of each object a row carries besides its cells: None, Metadata or Object.
        with_columns: a watch sends the heads with its first table only.
    """
    columns = tuple(columns)
    return {
        "kind": "Table",
        "apiVersion": PARTIAL_VERSION,
        "metadata": metadata,
        "columnDefinitions": [_define(column) for column in columns] if with_columns else None,
        "rows": [_make_row(columns, obj, now, include) for obj in objects],
    }


def columns_for(resource: Resource, custom: CustomVersion | None) -> tuple[Column, ...]:
    """The columns of any kind; a custom one has those of its definition."""
    if custom is None:
        return columns_of(resource)
    if not custom.columns:
        return (NAME, AGE)
    return (NAME, *(_custom_column(definition) for definition in custom.columns))


def _custom_column(definition: JsonObject) -> Column:
    path, kind = str(definition.get("jsonPath", "")), str(definition.get("type", "string"))

    def read(obj: JsonObject, now: datetime) -> Any:  # noqa: ANN401 - any cell
        found = find_by_path(obj, path)
        if not found:
            return None
        if kind == "date":
            return age_since(found[0], now)
        return found[0] if kind != "string" else ",".join(str(value) for value in found)

    return Column(str(definition.get("name", "")), read, kind, wide=bool(definition.get("priority")))


def _define(column: Column) -> JsonObject:
    is_name = column.name == "Name"
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if is_name else "",
        "description": "",
        "priority": 1 if column.wide else 0,
    }


def _make_row(columns: tuple[Column, ...], obj: JsonObject, now: datetime, include: str) -> JsonObject:
    row: JsonObject = {"cells": [column.cell(obj, now) for column in columns]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = partial_metadata(obj)
    return row


def partial_metadata(obj: JsonObject) -> JsonObject:
    """The object as PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": PARTIAL_VERSION, "metadata": metadata_of(obj)}
