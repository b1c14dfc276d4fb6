"""Collecting what is wrong with an object, in the words of a real API server (k8s.io/apimachinery validation/field)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from adapters.embedded.errors import Cause
from adapters.embedded.json_objects import JsonObject, encode_json

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_PORT_NAME = re.compile(r"[-a-z0-9]*")

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL.pattern}')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN.pattern}')"
)
_QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_NAME_PART.pattern}')"
)
_WHOLE_QUALIFIED_RULE = (
    "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_NAME_PART.pattern}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_CONFIG_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    f"'key-name', regex used for validation is '{_CONFIG_KEY.pattern}')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'({_NAME_PART.pattern})?')"
)


class FieldErrors:
    """The faults found so far."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []

    def required(self, field: str, detail: str = "") -> None:
        """A field is missing."""
        self._add("FieldValueRequired", field, "Required value", detail)

    def invalid(self, field: str, value: object, detail: str) -> None:
        """A field has a value that it must not have."""
        self._add("FieldValueInvalid", field, f"Invalid value: {encode_json(value).decode()}", detail)

    def unsupported(self, field: str, value: object, supported: Iterable[str]) -> None:
        """A field has a value outside of its enumeration."""
        choices = ", ".join(f'"{choice}"' for choice in supported)
        shown = encode_json(value).decode()
        self._add("FieldValueNotSupported", field, f"Unsupported value: {shown}", f"supported values: {choices}")

    def duplicate(self, field: str, value: object) -> None:
        """A field repeats what must be there once."""
        self._add("FieldValueDuplicate", field, f"Duplicate value: {encode_json(value).decode()}", "")

    def not_found(self, field: str, value: object) -> None:
        """A field names something that is not there."""
        self._add("FieldValueNotFound", field, f"Not found: {encode_json(value).decode()}", "")

    def too_long(self, field: str, longest: int) -> None:
        """A field holds more than it may; `longest` in bytes."""
        self._add("FieldValueTooLong", field, "Too long", f"may not be more than {longest} bytes")

    def forbidden(self, field: str, detail: str) -> None:
        """A field must not be given, or not be changed."""
        self._add("FieldValueForbidden", field, "Forbidden", detail)

    def _add(self, reason: str, field: str, head: str, detail: str) -> None:
        self.causes.append(Cause(reason, field, f"{head}: {detail}" if detail else head))

    # Checks that many kinds share

    def check_subdomain(self, field: str, value: str, shown: str | None = None) -> None:
        """The name of most objects: an RFC 1123 subdomain of at most 253 characters."""
        self._check_pattern(field, value, shown, _SUBDOMAIN, 253, _SUBDOMAIN_RULE)

    def check_label_name(self, field: str, value: str, shown: str | None = None) -> None:
        """The name of a namespace or a container: an RFC 1123 label of at most 63 characters."""
        dotted = _SUBDOMAIN.fullmatch(value) is not None
        self._check_pattern(field, value, shown, _LABEL, 63, "must not contain dots" if dotted else _LABEL_RULE)

    def check_config_key(self, field: str, key: str) -> None:
        """A key of a ConfigMap or Secret, which becomes the name of a file."""
        self._check_pattern(field, key, None, _CONFIG_KEY, 253, _CONFIG_KEY_RULE)
        if key in {".", ".."} or (key.startswith("..") and _CONFIG_KEY.fullmatch(key)):
            self.invalid(field, key, f"must not {'be' if key in {'.', '..'} else 'start with'} '{key[:2]}'")

    def _check_pattern(
        self, field: str, value: str, shown: str | None, pattern: re.Pattern[str], longest: int, rule: str
    ) -> None:
        """`shown`: what the message quotes instead of the value."""
        if len(value) > longest:
            self.invalid(field, value if shown is None else shown, f"must be no more than {longest} characters")
        if not pattern.fullmatch(value):
            self.invalid(field, value if shown is None else shown, rule)

    def check_port_number(self, field: str, value: object) -> None:
        """A port: 1 to 65535."""
        if not isinstance(value, int) or not 1 <= value <= 65535:
            self.invalid(field, value, "must be between 1 and 65535, inclusive")

    def check_port_name(self, field: str, value: str) -> None:
        """The name of a container's port: at most 15 characters, a letter among them."""
        for broken, rule in (
            (len(value) > 15, "must be no more than 15 characters"),
            (not _PORT_NAME.fullmatch(value), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
            (not re.search("[a-z]", value), "must contain at least one letter (a-z)"),
            ("--" in value, "must not contain consecutive hyphens"),
            (value != value.strip("-"), "must not begin or end with a hyphen"),
        ):
            if broken:
                self.invalid(field, value, rule)

    def check_not_negative(self, field: str, value: object) -> None:
        """A count."""
        if isinstance(value, int) and value < 0:
            self.invalid(field, value, "must be greater than or equal to 0")

    def check_one_of(self, field: str, value: object, supported: Iterable[str]) -> None:
        """An enumeration; an empty value is missing."""
        supported = list(supported)
        if not value:
            self.required(field)
        elif value not in supported:
            self.unsupported(field, value, supported)

    def check_labels(self, field: str, labels: dict[str, str]) -> None:
        """Keys and values of labels."""
        for key, value in labels.items():
            self.check_qualified_name(field, key)
            self.check_label_value(field, value)

    def check_label_value(self, field: str, value: str) -> None:
        """The value of a label; an empty one is one, too."""
        if len(value) > 63:
            self.invalid(field, value, "must be no more than 63 bytes")
        elif value and not _NAME_PART.fullmatch(value):
            self.invalid(field, value, _VALUE_RULE)

    def check_label_selector(self, field: str, selector: JsonObject) -> None:
        """The selector in a workload: labels, and expressions about labels."""
        self.check_labels(f"{field}.matchLabels", selector.get("matchLabels") or {})
        for index, expression in enumerate(selector.get("matchExpressions") or ()):
            self._check_expression(f"{field}.matchExpressions[{index}]", expression)

    def _check_expression(self, field: str, expression: JsonObject) -> None:
        operator, values = expression.get("operator") or "", expression.get("values") or []
        if operator in {"In", "NotIn"}:
            if not values:
                self.required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in {"Exists", "DoesNotExist"}:
            if values:
                told = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                self.forbidden(f"{field}.values", told)
        else:
            self.invalid(f"{field}.operator", operator, "not a valid selector operator")
        self.check_qualified_name(f"{field}.key", expression.get("key") or "")
        for index, value in enumerate(values):
            self.check_label_value(f"{field}.values[{index}]", value)

    def check_qualified_name(self, field: str, key: str, shown: str | None = None) -> None:
        """The key of a label or annotation: an optional DNS subdomain and a slash, then a name."""
        for fault in _faults_of_qualified_name(key):
            self.invalid(field, key if shown is None else shown, fault)


def _faults_of_qualified_name(key: str) -> Iterator[str]:
    prefix, slash, name = key.partition("/")
    if "/" in name:
        yield _WHOLE_QUALIFIED_RULE
        return
    if not slash:
        prefix, name = "", key
    elif not prefix:
        yield "prefix part must be non-empty"
    elif len(prefix) > 253:
        yield "prefix part must be no more than 253 bytes"
    elif not _SUBDOMAIN.fullmatch(prefix):
        yield f"prefix part {_SUBDOMAIN_RULE}"
    if not name:
        yield "name part must be non-empty"
    elif len(name) > 63:
        yield "name part must be no more than 63 bytes"
    if not _NAME_PART.fullmatch(name):
        yield _QUALIFIED_RULE
