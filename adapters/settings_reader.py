"""Finds and reads the settings file; everything that is wrong with it comes at once, each at its `path:line:column`.

The validator's own sentences are never shown: every kind of finding has one of ours here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from adapters.settings import (
    DatadogSettings,
    FileSettings,
    JsonSettings,
    NewRelicSettings,
    PrometheusSettings,
    ScrapeSettings,
    Settings,
    Surroundings,
    complete,
    usual_places,
)
from adapters.settings_sentences import SENTENCE
from engine.errors import HeadgateError
from strategies.places import Place
from strategies.problems import Problem
from strategies.suggestions import listed, nearest, quote
from strategies.yaml_document import Limits, MappingNode, Mark, ScalarNode, SequenceNode, compose, decode, to_plain
from strategies.yaml_scalars import Dialect

CONFIG_VARIABLE = "HEADGATE_CONFIG"
LIMITS = Limits(bytes=1 << 20, values=20_000)
_PROVIDERS: Mapping[str, type[BaseModel]] = {
    "prometheus": PrometheusSettings,
    "scrape": ScrapeSettings,
    "datadog": DatadogSettings,
    "newrelic": NewRelicSettings,
    "json": JsonSettings,
}

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number that is not infinite",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "path_type": "a path",
    "list_type": 'a list, with "- " in front of each entry',
    "tuple_type": 'a list, with "- " in front of each entry',
    "dict_type": "a mapping, with one key and value per line",
    "model_type": "a mapping, with one key and value per line",
    "model_attributes_type": "a mapping, with one key and value per line",
}


class SettingsInvalid(HeadgateError):
    """The settings file cannot be used. Nothing was started."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load_settings(named: Path | None, around: Surroundings) -> Settings:
    """The settings from the file that is named (by option or variable) or found in a usual place; without one, the
    defaults.

    Raises `SettingsInvalid`.
    """
    variable = around.environment.get(CONFIG_VARIABLE)
    if named is None and variable:
        named = Path(variable)
    if named is None:
        named = next((path for path in usual_places(around) if path.is_file()), None)
    if named is None:
        return complete(FileSettings(), None, around)
    try:
        content = _read(named)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        sentence = f"the settings file cannot be read: {why.lower()}"
        raise SettingsInvalid([Problem(str(named), 1, 1, sentence)]) from None
    return complete(parse_settings(content, str(named)), named.absolute(), around)


def parse_settings(content: bytes, name: str) -> FileSettings:
    """Raises `SettingsInvalid`."""
    text, fault = decode(content)
    if fault is not None:
        raise SettingsInvalid([Problem(name, *fault.mark, fault.message)])
    composed = compose(text, dialect=Dialect.DEPLOY_FILE, limits=LIMITS, single=False)
    problems = [Problem(name, *one.mark, one.message) for one in composed.faults]
    if len(composed.documents) > 1:
        mark = composed.documents[1].mark
        problems.append(Problem(name, *mark, "a second document begins here; a settings file is one document"))
    if problems:
        raise SettingsInvalid(problems)
    if not composed.documents:
        return FileSettings()
    return _validate(Place.root(composed.documents[0]), name)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LIMITS.bytes + 1)


def _validate(root: Place, name: str) -> FileSettings:
    problems = [Problem(name, *mark, sentence) for mark, sentence in _check_meaning(root)]
    settings: FileSettings | None = None
    if not root.is_mapping:
        mark, advice = root.mark, 'this is not a settings file; expected a mapping, such as "accounts: ..."'
        problems.append(Problem(name, *mark, advice))
    else:
        try:
            settings = FileSettings.model_validate(to_plain(root.node))
        except ValidationError as error:
            for details in error.errors(include_url=False, include_input=False):
                mark, sentence = _explain(root, details)
                problems.append(Problem(name, *mark, sentence))
    if problems or settings is None:
        raise SettingsInvalid(sorted(set(problems)))
    return settings


def _check_meaning(root: Place) -> Iterator[tuple[Mark, str]]:
    """What no single field can tell."""
    listens = root.get("listen")
    if listens is not None and not any(True for _ in root.items("tokens")):
        need = '"listen" opens the API to the network, so it needs at least one entry in "tokens"'
        yield listens.key_mark, f"{need}; add one, or remove it and use the socket"
    password, store = root.get("storePassword"), root.get("store")
    if password is not None and (store is None or "://" not in (store.text or "")):
        need = '"storePassword" is for a store that is a PostgreSQL database'
        yield password.key_mark, f'{need}; name one in "store", or remove it'
    yield from _check_certificates(root, listens)
    yield from _check_availability(root)
    names = [token.get("name") for token in root.items("tokens")]
    counts = Counter(name.text for name in names if name is not None)
    for name in names:
        if name is not None and counts[name.text] > 1:
            yield name.mark, f"two tokens are called {quote(name.text or '')}; give each its own name"


def _check_certificates(root: Place, listens: Place | None) -> Iterator[tuple[Mark, str]]:
    tls = root.get("tls")
    if tls is not None and listens is None:
        yield tls.key_mark, '"tls" is of the TCP address, and there is none; add "listen", or remove it'
    certified = [(token, token.get("certificate")) for token in root.items("tokens")]
    alone = Counter(named.text for token, named in certified if named is not None and token.get("sha256") is None)
    for token, named in certified:
        if named is None:
            continue
        if root.at("tls", "clientCaFile") is None:
            yield named.mark, f'{named.label} needs somebody to vouch for certificates; add "clientCaFile" to "tls"'
        if token.get("sha256") is None and alone[named.text] > 1:
            yield named.mark, f"two tokens are known by the certificate {quote(named.text or '')} alone; keep one of them"


def _check_availability(root: Place) -> Iterator[tuple[Mark, str]]:
    taking_turns, store, accounts = root.get("highAvailability"), root.get("store"), root.get("accounts")
    if taking_turns is None or not taking_turns.is_mapping:
        return
    if store is None or "://" not in (store.text or ""):
        need = '"highAvailability" needs a store that every daemon reaches'
        yield taking_turns.key_mark, f"{need}; name a PostgreSQL database in \"store\", or remove it"
    account = taking_turns.get("account")
    if account is not None and account.text and (accounts is None or accounts.get(account.text) is None):
        need = f"highAvailability.account is {quote(account.text)}, which is not one of the accounts"
        yield account.mark, f'{need}; add it to "accounts", or name one of those'


# --- the validator's findings in our words -----------------------------------------------------------------------------


def _explain(root: Place, details: ErrorDetails) -> tuple[Mark, str]:
    path = tuple(part for part in _without_tags(root, details["loc"]) if part != "[key]")
    kind, context = details["type"], details.get("ctx", {})
    place = root.deepest(path)
    label = place.label if place.path else "the settings file"
    if kind == "missing":
        return (place.key_mark if place.path else place.mark), f'{label} has no "{path[-1]}"; add it'
    if kind == "extra_forbidden":
        return place.key_mark, _explain_unknown(root, path)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _explain_provider(place, label)
    if place.is_empty:
        return place.key_mark, f"{label} is empty; give it a value, or remove the key"
    if kind == SENTENCE:
        seen = f"{label} " if str(context.get("sentence", "")).startswith(("is ", "has ")) else ""
        return place.mark, f"{seen}{context.get('sentence', '')}"
    meant = _nearest_of(context.get("expected"), place)
    return place.mark, f"{label} is {_seen(place)}; expected {_expected(kind, context)}{meant}"


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "enum" | "literal_error":
            return str(context["expected"]).replace("'", "")
        case "greater_than":
            return f"more than {context['gt']:g}"
        case "greater_than_equal":
            return f"{context['ge']:g} or more"
        case "less_than_equal":
            return f"{context['le']:g} or less"
        case "too_short":
            return "at least one entry"
        case _:
            return _EXPECTED.get(kind, "another value")


def _nearest_of(expected: object, place: Place) -> str:
    """The validator lists the names that a value may be, in quotes."""
    found = nearest(place.text or "", re.findall(r"'([^']*)'", str(expected or "")))
    return f"; did you mean {quote(found)}?" if found else ""


def _explain_provider(place: Place, label: str) -> tuple[Mark, str]:
    kinds = listed(sorted(_PROVIDERS), joint="or").replace('"', "")
    kind = place.get("type")
    if kind is None:
        return place.key_mark, f'{label} has no "type"; add one: {kinds}'
    return kind.mark, f"{label}.type is {_seen(kind)}; expected {kinds}"


def _explain_unknown(root: Place, path: tuple[int | str, ...]) -> str:
    owner = root.deepest(path[:-1])
    where = owner.label if owner.path else "the settings file"
    name = str(path[-1])
    valid = _fields_at(root, path[:-1])
    found = nearest(name, valid)
    advice = f"did you mean {quote(found)}?" if found else f"known here: {listed(valid, most=30)}".replace('"', "")
    return f"unknown field {quote(name)} in {where}; {advice}"


def _seen(place: Place) -> str:
    match place.node:
        case MappingNode():
            return "a mapping"
        case SequenceNode():
            return "a list"
        case ScalarNode(value=str() as value):
            return f"the text {quote(value)}" if value.strip() else "blank text"
        case ScalarNode(text=text):
            return quote(text).strip('"')


def _without_tags(root: Place, path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The validator names the kind of a provider in its paths, where the file has no such key."""
    if len(path) > 2 and path[0] == "metricProviders" and path[2] in _PROVIDERS:
        return (*path[:2], *path[3:])
    return path


def _fields_at(root: Place, path: tuple[int | str, ...]) -> list[str]:
    """The names that an object of the file may have."""
    current: Any = FileSettings
    for depth, part in enumerate(path):
        if depth == 1 and path[0] == "metricProviders":
            kind = root.deepest(path[:2]).get("type")
            current = _PROVIDERS.get(kind.text or "" if kind is not None else "", PrometheusSettings)
        elif isinstance(current, type) and issubclass(current, BaseModel):
            named = {field.alias or name: field.annotation for name, field in current.model_fields.items()}
            current = _unwrap(named.get(str(part)))
        else:
            current = _unwrap(next((one for one in reversed(get_args(current)) if one is not Ellipsis), None))
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _unwrap(annotation: Any) -> Any:  # noqa: ANN401  type annotations are values of any type
    """`X` of `X | None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next(argument for argument in get_args(annotation) if argument is not type(None))
    return annotation
