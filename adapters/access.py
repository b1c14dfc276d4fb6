"""Who may do what: the tokens of the settings, and what their scopes allow. Pure; knows neither HTTP nor the engine.

A token without scopes may do everything. With scopes it may do what at least one of them allows. What may not be done is
decided here, and what is answered then is `adapters.http`'s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, model_validator

from adapters.settings_model import Name, SettingsModel
from adapters.settings_sentences import sentence

T = TypeVar("T")

EXPIRY_NOTICE = timedelta(days=7)
"""How long before its end a token is warned about."""
_HASH = re.compile(r"[0-9a-f]{64}")


class Access(StrEnum):
    FULL = "full"
    READ = "read"
    """May look at what the scopes cover, and order nothing."""


class Verb(StrEnum):
    """What can be done to one target of an application. Every verb includes READ: nobody acts on what they cannot see."""

    READ = "read"
    DEPLOY = "deploy"
    APPROVE = "approve"
    REJECT = "reject"
    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip"
    PROMOTE = "promote"
    ABORT = "abort"
    ROLLBACK = "rollback"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class TargetKey:
    """What a scope is compared with."""

    application: str
    target: str
    account: str


# --- kinds of values ---------------------------------------------------------------------------------------------------


def _require_hash(value: str) -> str:
    if _HASH.fullmatch(value) is None:
        raise sentence(
            "is not the SHA-256 of a token; make one with: printf %s THE-TOKEN | sha256sum (64 hexadecimal digits), or "
            "both together with: headgate token new NAME"
        )
    return value


def _require_pattern(value: str) -> str:
    if not value or not value.isprintable() or value != value.strip():
        raise sentence('is not a pattern; expected a name, or one with wildcards, such as "shop-*"')
    return value


def _require_role(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise sentence('is not a role; expected the text that "requiresRoles" of deploy files has')
    return value


def _read_instant(value: object) -> object:
    if value is None or isinstance(value, datetime):
        return value
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise sentence('is not an instant; expected date, time and zone, such as "2030-01-31T18:00:00Z"')
    return instant


def _require_entry(value: tuple[T, ...]) -> tuple[T, ...]:
    """An empty list would look like nothing, and what is left out means everything."""
    if not value:
        raise sentence("has no entry; add one, or remove the key, which means that nothing is limited")
    return value


def _require_certificate_name(value: str) -> str:
    if not value or not value.isprintable() or value != value.strip() or "*" in value:
        raise sentence(
            'is not a name of a certificate; expected its common name, or one of its alternative names, such as "ci" or '
            '"spiffe://example.org/ci"'
        )
    return value


Sha256: TypeAlias = Annotated[str, AfterValidator(_require_hash)]
CertificateName: TypeAlias = Annotated[str, AfterValidator(_require_certificate_name)]
Pattern: TypeAlias = Annotated[str, AfterValidator(_require_pattern)]
Role: TypeAlias = Annotated[str, AfterValidator(_require_role)]
Patterns: TypeAlias = Annotated[tuple[Pattern, ...], AfterValidator(_require_entry)]
Instant: TypeAlias = Annotated[datetime | None, BeforeValidator(_read_instant)]


# --- tokens ------------------------------------------------------------------------------------------------------------


class Scope(SettingsModel):
    """Some verbs on some targets. Patterns are names, or shell-style wildcards that mind the case; what is not said is not
    limited."""

    applications: Patterns = ("*",)
    targets: Patterns = ("*",)
    accounts: Patterns = ("*",)
    verbs: Annotated[tuple[Verb, ...], AfterValidator(_require_entry)] = tuple(Verb)

    def allows(self, verb: Verb, key: TargetKey) -> bool:
        return (
            (verb is Verb.READ or verb in self.verbs)
            and self.covers_name(key.application, key.target)
            and _matches(self.accounts, key.account)
        )

    def covers_name(self, application: str, target: str) -> bool:
        """As far as can be told without knowing the account."""
        return _matches(self.applications, application) and _matches(self.targets, target)

    @property
    def covers_every_account(self) -> bool:
        return "*" in self.accounts

    @property
    def covers_everything(self) -> bool:
        return self.covers_every_account and "*" in self.applications and "*" in self.targets


def _matches(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Token(SettingsModel):
    """Somebody who may use the API over TCP. The token itself is never in the file."""

    name: Name
    sha256: Sha256 | None = None
    """Left out, the certificate alone is what its holder is known by."""
    certificate: CertificateName | None = None
    """A name in the client certificate that has to be shown."""
    roles: tuple[Role, ...] = ()
    """What approvals with `requiresRoles` ask for; their case does not matter."""
    access: Access = Access.FULL
    scopes: Annotated[tuple[Scope, ...], AfterValidator(_require_entry)] = ()
    """Left out, the token may do everything."""
    expires_at: Instant = None
    """From then on the token is refused."""

    @model_validator(mode="after")
    def _require_proof(self) -> Token:
        if self.sha256 is None and self.certificate is None:
            raise sentence('has neither "sha256" nor "certificate", so that nobody could be it; add one of them, or both')
        return self

    @model_validator(mode="after")
    def _require_one_meaning(self) -> Token:
        if self.access is Access.READ and any(_orders_something(scope) for scope in self.scopes):
            raise sentence('has "access: read", and a scope with other verbs than read; remove one of the two')
        return self


def _orders_something(scope: Scope) -> bool:
    return "verbs" in scope.model_fields_set and set(scope.verbs) != {Verb.READ}


def has_expired(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is not None and now >= expires_at


def expires_soon(expires_at: datetime | None, now: datetime) -> bool:
    """Whether the end is nearer than `EXPIRY_NOTICE`, or past."""
    return expires_at is not None and now >= expires_at - EXPIRY_NOTICE
