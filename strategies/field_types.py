"""The kinds of values that fields of a deploy file take, and how a model of it behaves.

The errors raised here carry whole sentences of ours; `strategies.schema_problems` gives them their place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from strategies.durations import Unit
from strategies.suggestions import listed, quote, suggest
from strategies.weights import EXPECTED, WeightError, to_basis_points

SENTENCE = "headgate_sentence"
"""The type of the errors whose message is ours from the first word to the last."""

ADDITION: dict[str, Any] = {"x-headgate-addition": True}
"""Marks a field that CD-as-a-Service did not have."""

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_SERVICE = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_URL = re.compile(r"(?:https?://|\{\{)\S.*", re.DOTALL)

_Choice = TypeVar("_Choice", bound=StrEnum)


def deprecated(instead: str) -> dict[str, Any]:
    """Marks a field that CD-as-a-Service had given up; says what to write instead."""
    return {"deprecated": True, "x-headgate-instead": instead}


class DeployModel(BaseModel):
    """One object of a deploy file. Names are camelCase in the file; what is not in the model is refused."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel, validate_default=False
    )


def sentence(text: str) -> PydanticCustomError:
    return PydanticCustomError(SENTENCE, "{sentence}", {"sentence": text})


# --- text -------------------------------------------------------------------------------------------------------------


def _require_text(value: str) -> str:
    if not value.strip():
        raise sentence("is blank; give it a value")
    return value


def _require_name(value: str) -> str:
    _require_text(value)
    if not value.isprintable():
        raise sentence(f"is {quote(value)}, which holds a control character; remove it")
    if len(value) > 253:
        raise sentence(f"is {len(value)} characters long; expected at most 253")
    return value


def _require_kubernetes_name(value: str) -> str:
    _require_text(value)
    if _LABEL.fullmatch(value) is None:
        raise sentence(
            f"is {quote(value)}, which Kubernetes does not take as a name; expected at most 63 lower-case letters, "
            f"digits and dashes, with a letter or digit at both ends{_did_you_mean_lowered(value, _LABEL)}"
        )
    return value


def _require_object_name(value: str) -> str:
    """Most kinds take dots in a name; Services, namespaces and what becomes a label do not."""
    _require_text(value)
    if _OBJECT.fullmatch(value) is None:
        raise sentence(
            f"is {quote(value)}, which Kubernetes does not take as a name; expected at most 253 lower-case letters, "
            f"digits, dashes and dots, with a letter or digit at both ends{_did_you_mean_lowered(value, _OBJECT)}"
        )
    return value


def _require_host_name(value: str) -> str:
    _require_text(value)
    if _OBJECT.fullmatch(value.removeprefix("*.")) is None or _ADDRESS.fullmatch(value):
        raise sentence(f"is {quote(value)}, which is no host name; expected one such as shop.example.com, or *.example.com")
    return value


def _require_service_name(value: str) -> str:
    _require_text(value)
    if _SERVICE.fullmatch(value) is None:
        raise sentence(
            f"is {quote(value)}, which cannot be the name of a Service; expected at most 63 lower-case letters, digits "
            f"and dashes, with a letter first{_did_you_mean_lowered(value, _SERVICE)}"
        )
    return value


def _did_you_mean_lowered(value: str, form: re.Pattern[str]) -> str:
    lowered = value.strip().lower().replace("_", "-")
    return f"; did you mean {quote(lowered)}?" if form.fullmatch(lowered) else ""


def _require_url(value: str) -> str:
    _require_text(value)
    if _URL.fullmatch(value) is None:
        raise sentence(f'is {quote(value)}; expected an address that begins with "https://" or "http://"')
    return value


Text: TypeAlias = Annotated[str, AfterValidator(_require_text)]
Name: TypeAlias = Annotated[str, AfterValidator(_require_name)]
KubernetesName: TypeAlias = Annotated[
    str,
    AfterValidator(_require_kubernetes_name),
    WithJsonSchema({"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}),
]
ObjectName: TypeAlias = Annotated[
    str,
    AfterValidator(_require_object_name),
    WithJsonSchema(
        {"type": "string", "maxLength": 253, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}
    ),
]
HostName: TypeAlias = Annotated[
    str,
    AfterValidator(_require_host_name),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 253,
            "pattern": "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        }
    ),
]
"""Of a route of the Gateway API, which takes a wildcard as the first part, and no addresses."""
ServiceName: TypeAlias = Annotated[
    str,
    AfterValidator(_require_service_name),
    WithJsonSchema({"type": "string", "maxLength": 63, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}),
]
UrlTemplate: TypeAlias = Annotated[
    str, AfterValidator(_require_url), WithJsonSchema({"type": "string", "pattern": "^(https?://|\\{\\{)"})
]
Context: TypeAlias = dict[str, str]


# --- numbers ----------------------------------------------------------------------------------------------------------


Limit: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
Amount: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A number of seconds, minutes or hours that may have a fraction."""
WholeAmount: TypeAlias = Annotated[int, Field(ge=0)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65_535)]


def _read_weight(value: object) -> int:
    try:
        return to_basis_points(value)
    except WeightError as error:
        raise sentence(str(error)) from None


Weight: TypeAlias = Annotated[
    int,
    BeforeValidator(_read_weight),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": "^[0-9]+(\\.[0-9]{1,2})?\\s*%$"},
            ],
            "title": EXPECTED,
        }
    ),
]
"""Written as a percentage, kept in basis points."""


# --- words ------------------------------------------------------------------------------------------------------------


def _reader(choices: type[_Choice]) -> Callable[[object], object]:
    """Reads a word whatever its case, as CD-as-a-Service did."""
    valid = [str(choice) for choice in choices]
    by_lowered = {choice.lower(): choice for choice in choices}

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        choice = by_lowered.get(value.strip().lower())
        if choice is None:
            raise sentence(f"is {quote(value)}; expected {_alternatives(valid)}{_nearest_of(value, valid)}")
        return choice

    return read


def _alternatives(valid: Iterable[str]) -> str:
    return listed(valid, joint="or").replace('"', "")


def _nearest_of(value: str, valid: list[str]) -> str:
    found = suggest(value, valid) if len(valid) > 1 else ""
    return f"; {found}" if found.startswith("did you mean") else ""


def _choice_schema(choices: type[StrEnum]) -> WithJsonSchema:
    words = [str(choice) for choice in choices]
    return WithJsonSchema(
        {"type": "string", "enum": [*words, *[word.upper() for word in words if word != word.upper()]]}
    )


class Kind(StrEnum):
    KUBERNETES = "kubernetes"


class RollMode(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class LookbackMethod(StrEnum):
    GROWING = "growing"
    SLIDING = "sliding"


class NoData(StrEnum):
    EXTEND = "extend"
    HOLD = "hold"
    PASS = "pass"
    FAIL = "fail"


class NetworkMode(StrEnum):
    DIRECT = "direct"
    REMOTE_NETWORK_AGENT = "remoteNetworkAgent"


class InProgress(StrEnum):
    REJECT = "reject"
    ENQUEUE_ONE = "enqueueOne"
    REPLACE = "replace"


class OnFailureChoice(StrEnum):
    LEAVE = "leave"
    ROLLBACK = "rollback"


class OnDriftChoice(StrEnum):
    HOLD = "hold"
    REASSERT = "reassert"
    ABORT = "abort"


class WithoutTraffic(StrEnum):
    FAIL = "fail"
    PASS = "pass"


class ParentKind(StrEnum):
    GATEWAY = "Gateway"
    SERVICE = "Service"


class FreezeMoment(StrEnum):
    FROM_START = "fromStart"
    AT_HAND_OVER = "atHandOver"


class Method(StrEnum):
    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"


UnitWord: TypeAlias = Annotated[Unit, BeforeValidator(_reader(Unit)), _choice_schema(Unit)]
KindWord: TypeAlias = Annotated[Kind, BeforeValidator(_reader(Kind)), _choice_schema(Kind)]
RollModeWord: TypeAlias = Annotated[RollMode, BeforeValidator(_reader(RollMode)), _choice_schema(RollMode)]
LookbackWord: TypeAlias = Annotated[
    LookbackMethod, BeforeValidator(_reader(LookbackMethod)), _choice_schema(LookbackMethod)
]
NoDataWord: TypeAlias = Annotated[NoData, BeforeValidator(_reader(NoData)), _choice_schema(NoData)]
NetworkModeWord: TypeAlias = Annotated[NetworkMode, BeforeValidator(_reader(NetworkMode)), _choice_schema(NetworkMode)]
InProgressWord: TypeAlias = Annotated[InProgress, BeforeValidator(_reader(InProgress)), _choice_schema(InProgress)]
OnFailureWord: TypeAlias = Annotated[
    OnFailureChoice, BeforeValidator(_reader(OnFailureChoice)), _choice_schema(OnFailureChoice)
]
FreezeWord: TypeAlias = Annotated[FreezeMoment, BeforeValidator(_reader(FreezeMoment)), _choice_schema(FreezeMoment)]
OnDriftWord: TypeAlias = Annotated[OnDriftChoice, BeforeValidator(_reader(OnDriftChoice)), _choice_schema(OnDriftChoice)]
WithoutTrafficWord: TypeAlias = Annotated[
    WithoutTraffic, BeforeValidator(_reader(WithoutTraffic)), _choice_schema(WithoutTraffic)
]
ParentKindWord: TypeAlias = Annotated[ParentKind, BeforeValidator(_reader(ParentKind)), _choice_schema(ParentKind)]
MethodWord: TypeAlias = Annotated[Method, BeforeValidator(_reader(Method)), _choice_schema(Method)]


class Duration(DeployModel):
    """A length of time."""

    duration: Amount = Field(description="The amount of time, in `unit`; at most a year.", examples=[30])
    unit: UnitWord = Field(description="The unit of the amount: `seconds`, `minutes` or `hours`.", examples=["seconds"])
