"""The JSON Schema of deploy files, from their models: for `headgate schema` and for completion in editors.

python -m strategies.document_schema        # writes docs/deploy-file.md
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from strategies.deployfile_models import DeployFile

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def dump_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of the deploy file."""
    schema = _tidy(DeployFile.model_json_schema(by_alias=True, mode="validation"))
    definitions = {name: _title_fields(definition) for name, definition in sorted(schema.pop("$defs").items())}
    return {
        "$schema": _DIALECT,
        **_title_fields({**schema, "title": "Headgate deploy file"}),
        "$defs": definitions,
    }


def _tidy(part: Any) -> Any:  # noqa: ANN401  any part of a JSON document
    """Leave out what only says that a field may be absent, which in a file is not written as null."""
    if isinstance(part, list):
        return [_tidy(item) for item in part]
    if not isinstance(part, dict):
        return part
    tidied = {key: _tidy(value) for key, value in part.items() if not (key == "default" and value is None)}
    options = tidied.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        del tidied["anyOf"]
        tidied = {**rest[0], **tidied} if len(rest) == 1 else {**tidied, "anyOf": rest}
    return tidied


def _title_fields(definition: dict[str, Any]) -> dict[str, Any]:
    """Fields are called as they are written; the validator's own titles (`Rootservicename`) help nobody."""
    properties = definition.get("properties")
    if not isinstance(properties, dict):
        return definition
    return {**definition, "properties": {name: {**field, "title": name} for name, field in properties.items()}}


def main() -> None:
    from strategies.document_page import render_page

    page = Path(__file__).parent.parent / "docs" / "deploy-file.md"
    page.write_text(render_page(dump_schema()), encoding="utf-8")
    sys.stdout.write(f"wrote {page}\n")


if __name__ == "__main__":
    main()
