"""What the parts of the settings file have in common: how an object of the file is modelled, and the values that several parts
use. Knows none of the parts.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from adapters.settings_sentences import sentence

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class SettingsModel(BaseModel):
    """One object of the file. Names are camelCase there; what is not in the model is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


def _require_name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise sentence("is not a name; expected letters, digits, dots, dashes and underscores, 63 at most")
    return value


Name: TypeAlias = Annotated[str, AfterValidator(_require_name)]
