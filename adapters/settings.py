"""The daemon's settings file, `headgate.yaml`: its fields, where it is looked for, and where things are by default.

Only describes: it opens no socket, no store and no cluster, and reads no secret. `adapters.settings_reader` reads the
file and says what is wrong with it, each at its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

SENTENCE = "headgate_sentence"
"""The type of the errors whose message is ours from the first word to the last."""

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def _sentence(text: str) -> PydanticCustomError:
    return PydanticCustomError(SENTENCE, "{sentence}", {"sentence": text})


class SettingsModel(BaseModel):
    """One object of the file. Names are camelCase there; what is not in the model is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


# --- kinds of values ---------------------------------------------------------------------------------------------------


class Address(NamedTuple):
    """Where to listen for TCP connections."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _read_address(value: object) -> object:
    if value is None or isinstance(value, Address):
        return value
    host, colon, port = str(value).strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not isinstance(value, str) or not colon or not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise _sentence('is not an address; expected "host:port", such as "127.0.0.1:8440"')
    return Address(host, int(port))


def _require_url(value: str) -> str:
    if re.fullmatch(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", value) is None:
        raise _sentence('is not an address; expected "https://host" or "http://host:port", without user and query')
    return value.rstrip("/")


def _require_hash(value: str) -> str:
    if _HASH.fullmatch(value) is None:
        raise _sentence(
            "is not the SHA-256 of a token; make one with: printf %s THE-TOKEN | sha256sum (64 hexadecimal digits)"
        )
    return value


def _require_name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise _sentence("is not a name; expected letters, digits, dots, dashes and underscores, 63 at most")
    return value


Url: TypeAlias = Annotated[str, AfterValidator(_require_url)]
Sha256: TypeAlias = Annotated[str, AfterValidator(_require_hash)]
Name: TypeAlias = Annotated[str, AfterValidator(_require_name)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


# --- parts -------------------------------------------------------------------------------------------------------------


class SecretReference(SettingsModel):
    """Where a secret is: in a file, which is read at each use, or in a variable of the daemon's environment."""

    file: Path | None = None
    env: str | None = None

    @model_validator(mode="after")
    def _require_one(self) -> SecretReference:
        if (self.file is None) == (self.env is None):
            raise _sentence('has to say where the secret is, by "file" or by "env", one of the two')
        return self


class BasicLogin(SettingsModel):
    username: str
    password: SecretReference


class TlsSettings(SettingsModel):
    ca_file: Path | None = None
    """The certificate authorities to trust, instead of the system's."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    insecure: bool = False
    """Accept any certificate: for tests only."""


class Access(StrEnum):
    FULL = "full"
    READ = "read"
    """May look at everything and order nothing."""


class Token(SettingsModel):
    """Somebody who may use the API over TCP. The token itself is never in the file."""

    name: Name
    sha256: Sha256
    roles: tuple[str, ...] = ()
    """What approvals with `requiresRoles` ask for."""
    access: Access = Access.FULL


class WatchBreadth(StrEnum):
    CLUSTER = "cluster"
    NAMESPACE = "namespace"


class AccountSettings(SettingsModel):
    """One cluster. With nothing given: the usual kubeconfig and its current context."""

    kubeconfig: Path | None = None
    context: str | None = None
    in_cluster: bool = False
    """Use the service account of the pod that the daemon runs in."""
    watch: WatchBreadth = WatchBreadth.CLUSTER

    @model_validator(mode="after")
    def _require_one_place(self) -> AccountSettings:
        if self.in_cluster and (self.kubeconfig is not None or self.context is not None):
            raise _sentence('is "inCluster" and names a kubeconfig or context as well; keep one of them')
        return self


class _ProviderSettings(SettingsModel):
    basic: BasicLogin | None = None
    bearer: SecretReference | None = None
    tls: TlsSettings | None = None
    timeout: Seconds = 10.0

    @model_validator(mode="after")
    def _require_one_login(self) -> _ProviderSettings:
        if self.basic is not None and self.bearer is not None:
            raise _sentence('has both "basic" and "bearer"; keep one of them')
        return self


class PrometheusSettings(_ProviderSettings):
    type: Literal["prometheus"]
    url: Url


class ScrapeSettings(_ProviderSettings):
    """Metric pages that the daemon reads itself, without a metrics server."""

    type: Literal["scrape"]
    urls: tuple[Url, ...] = Field(min_length=1)
    interval: Seconds = 5.0


ProviderSettings: TypeAlias = Annotated[PrometheusSettings | ScrapeSettings, Field(discriminator="type")]


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class LogSettings(SettingsModel):
    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.TEXT


class FileSettings(SettingsModel):
    """The file as it is written; everything may be left out."""

    store: Path | None = None
    socket: Path | None = None
    listen: Annotated[Address | None, BeforeValidator(_read_address)] = None
    tokens: tuple[Token, ...] = ()
    public_url: Url | None = None
    accounts: dict[Name, AccountSettings] = {}
    metric_providers: dict[Name, ProviderSettings] = {}
    secrets: dict[Name, SecretReference] = {}
    log: LogSettings = LogSettings()


# --- the settings in force ---------------------------------------------------------------------------------------------


class Settings(SettingsModel):
    """What holds: the file's fields, and the defaults where it says nothing. Paths are absolute."""

    source: Path | None
    """The file; None when there is none."""
    store: Path
    socket: Path
    listen: Address | None = None
    tokens: tuple[Token, ...] = ()
    public_url: str | None = None
    """How others reach the daemon: the beginning of callback addresses and of links."""
    accounts: dict[str, AccountSettings] = {}
    metric_providers: dict[str, ProviderSettings] = {}
    secrets: dict[str, SecretReference] = {}
    log: LogSettings = LogSettings()


class Surroundings(NamedTuple):
    """What the defaults depend on."""

    environment: Mapping[str, str]
    home: Path
    is_root: bool


def default_store(around: Surroundings) -> Path:
    """systemd names a state directory to its services; root has the system's; anybody else has one of their own."""
    if directory := around.environment.get("STATE_DIRECTORY"):
        return Path(directory.split(":")[0], "headgate.db")
    if around.is_root:
        return Path("/var/lib/headgate/headgate.db")
    data = around.environment.get("XDG_DATA_HOME")
    return Path(data) / "headgate/headgate.db" if data else around.home / ".local/share/headgate/headgate.db"


def default_socket(around: Surroundings) -> Path:
    if directory := around.environment.get("RUNTIME_DIRECTORY"):
        return Path(directory.split(":")[0], "headgate.sock")
    if around.is_root:
        return Path("/run/headgate/headgate.sock")
    if runtime := around.environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime, "headgate.sock")
    return default_store(around).with_name("headgate.sock")


def usual_places(around: Surroundings) -> tuple[Path, ...]:
    """Where the file is looked for when nobody names it, in this order."""
    configuration = around.environment.get("XDG_CONFIG_HOME")
    own = Path(configuration) if configuration else around.home / ".config"
    return (Path("headgate.yaml"), own / "headgate/headgate.yaml", Path("/etc/headgate/headgate.yaml"))


def complete(written: FileSettings, source: Path | None, around: Surroundings) -> Settings:
    """The settings in force. Relative paths are taken from the file's own directory, and `~` is the home directory."""
    base = source.parent if source is not None else Path()

    def absolute(path: Path) -> Path:
        text = str(path)
        if text == "~" or text.startswith("~/"):
            path = around.home / text[2:]
        return (base / path).absolute()

    def absolute_or_none(path: Path | None) -> Path | None:
        return None if path is None else absolute(path)

    accounts = {
        name: account.model_copy(update={"kubeconfig": absolute_or_none(account.kubeconfig)})
        for name, account in written.accounts.items()
    }
    return Settings(
        source=source,
        store=absolute(written.store or default_store(around)),
        socket=absolute(written.socket or default_socket(around)),
        listen=written.listen,
        tokens=written.tokens,
        public_url=written.public_url,
        accounts=accounts,
        metric_providers={name: _place_provider(one, absolute) for name, one in written.metric_providers.items()},
        secrets={name: _place_secret(one, absolute) for name, one in written.secrets.items()},
        log=written.log,
    )


def _place_secret(secret: SecretReference, absolute: Callable[[Path], Path]) -> SecretReference:
    return secret if secret.file is None else secret.model_copy(update={"file": absolute(secret.file)})


def _place_provider(
    provider: PrometheusSettings | ScrapeSettings, absolute: Callable[[Path], Path]
) -> PrometheusSettings | ScrapeSettings:
    placed: dict[str, object] = {}
    if provider.basic is not None:
        password = _place_secret(provider.basic.password, absolute)
        placed["basic"] = provider.basic.model_copy(update={"password": password})
    if provider.bearer is not None:
        placed["bearer"] = _place_secret(provider.bearer, absolute)
    if provider.tls is not None:
        files = ("ca_file", "certificate_file", "key_file")
        named = {name: absolute(path) for name in files if (path := getattr(provider.tls, name)) is not None}
        placed["tls"] = provider.tls.model_copy(update=named)
    return provider.model_copy(update=placed)
