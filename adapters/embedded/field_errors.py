"""Collecting what is wrong with an object, in the words of a real API server (k8s.io/apimachinery validation/field)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from adapters.embedded.errors import Cause
from adapters.embedded.json_objects import encode_json

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PORT_NAME = re.compile(r"(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?")

_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL.pattern}')"
)
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN.pattern}')"
)
_DNS_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_DNS_1035.pattern}')"
)
_QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_NAME_PART.pattern}')"
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

    def forbidden(self, field: str, detail: str) -> None:
        """A field must not be given, or not be changed."""
        self._add("FieldValueForbidden", field, "Forbidden", detail)

    def _add(self, reason: str, field: str, head: str, detail: str) -> None:
        self.causes.append(Cause(reason, field, f"{head}: {detail}" if detail else head))

    # Checks that many kinds share

    def check_subdomain(self, field: str, value: str) -> None:
        """The name of most objects: an RFC 1123 subdomain of at most 253 characters."""
        self._check_pattern(field, value, _SUBDOMAIN, 253, _SUBDOMAIN_RULE)

    def check_label_name(self, field: str, value: str) -> None:
        """The name of a namespace or a container: an RFC 1123 label of at most 63 characters."""
        self._check_pattern(field, value, _LABEL, 63, _LABEL_RULE)

    def check_dns_1035(self, field: str, value: str) -> None:
        """The name of a Service: an RFC 1035 label of at most 63 characters."""
        self._check_pattern(field, value, _DNS_1035, 63, _DNS_1035_RULE)

    def _check_pattern(self, field: str, value: str, pattern: re.Pattern[str], longest: int, rule: str) -> None:
        if len(value) > longest:
            self.invalid(field, value, f"must be no more than {longest} bytes")
        elif not pattern.fullmatch(value):
            self.invalid(field, value, rule)

    def check_port_number(self, field: str, value: object) -> None:
        """A port: 1 to 65535."""
        if not isinstance(value, int) or not 1 <= value <= 65535:
            self.invalid(field, value, "must be between 1 and 65535, inclusive")

    def check_port_name(self, field: str, value: str) -> None:
        """The name of a container's port: at most 15 characters, a letter among them."""
        if len(value) > 15:
            self.invalid(field, value, "must be no more than 15 bytes")
        elif not _PORT_NAME.fullmatch(value) or not any(character.isalpha() for character in value):
            rule = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), a letter among them"
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
            if len(value) > 63:
                self.invalid(field, value, "must be no more than 63 bytes")
            elif value and not _NAME_PART.fullmatch(value):
                self.invalid(field, value, _VALUE_RULE)

    def check_qualified_name(self, field: str, key: str) -> None:
        """The key of a label or annotation: an optional DNS subdomain and a slash, then a name."""
        prefix, slash, name = key.rpartition("/")
        if slash and (not prefix or not _SUBDOMAIN.fullmatch(prefix)):
            self.invalid(field, key, f"prefix part {_SUBDOMAIN_RULE}")
        if not name:
            self.invalid(field, key, "name part must be non-empty")
        elif len(name) > 63:
            self.invalid(field, key, "name part must be no more than 63 bytes")
        elif not _NAME_PART.fullmatch(name):
            self.invalid(field, key, _QUALIFIED_RULE)
