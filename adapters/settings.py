"""The daemon's settings file, `headgate.yaml`: its fields, where it is looked for, and where things are by default.

Only describes: it opens no socket, no store and no cluster, and reads no secret. `adapters.settings_reader` reads the
file and says what is wrong with it, each at its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from adapters.access import Token
from adapters.settings_admission import Count, FreezeSettings, LimitSettings, WindowSettings
from adapters.settings_availability import AvailabilitySettings
from adapters.settings_model import Name, SettingsModel
from adapters.settings_sentences import sentence
from adapters.settings_store import StoreAddress, read_store
from engine.retention import Retention

if TYPE_CHECKING:
    from adapters.metrics.placeholders import JsonValue


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
        raise sentence('is not an address; expected "host:port", such as "127.0.0.1:8440"')
    return Address(host, int(port))


def _read_network(value: object) -> object:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value).strip())
    except ValueError:
        pass
    try:
        meant = f"; did you mean {ip_network(str(value).strip(), strict=False)}?"
    except ValueError:
        meant = ""
    raise sentence(f'is not a network; expected an address, or a network such as "10.0.0.0/8" or "fd00::/8"{meant}')


def _require_url(value: str) -> str:
    if re.fullmatch(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", value) is None:
        raise sentence('is not an address; expected "https://host" or "http://host:port", without user and query')
    return value.rstrip("/")


def _require_datadog_site(value: str) -> str:
    if re.fullmatch(r"(?!app\.|api\.)[a-z0-9-]+(?:\.[a-z0-9-]+)+", value) is None:
        raise sentence(
            'is not a site of Datadog; expected for instance "datadoghq.com", "us3.datadoghq.com" or "datadoghq.eu", '
            'without "app." or "api." in front'
        )
    return value


def _require_address_template(value: str) -> str:
    from adapters.metrics.placeholders import TemplateInvalid, check_address  # as for the expression

    try:
        check_address(value)
    except TemplateInvalid as error:
        raise sentence(str(error)) from None
    return value


def _require_body_template(value: object) -> object:
    from adapters.metrics.placeholders import TemplateInvalid, check_body  # as for the expression

    if value is not None and not isinstance(value, dict | list):
        raise sentence("is not a mapping or a list; write it as YAML, it is sent as JSON")
    try:
        check_body(value)
    except TemplateInvalid as error:
        raise sentence(str(error)) from None
    return value


def _require_expression(value: str | None) -> str | None:
    # What only some settings need is not loaded for every command.
    from adapters.metrics.json_expression import JsonExpression, JsonExpressionError

    try:
        if value is not None:
            JsonExpression(value)
    except JsonExpressionError as error:
        text = str(error)
        raise sentence(text if text.startswith(("is ", "has ")) else f"is an expression that {text}") from None
    return value


def _require_header(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value) is None:
        raise sentence("is not the name of a header")
    if value.lower() in ("content-type", "content-length", "transfer-encoding", "host"):
        raise sentence("is a header that is set by itself; remove it")
    return value


def _require_plain_header(value: str) -> str:
    if value.lower() in ("authorization", "cookie"):
        raise sentence('is a header with a secret; use "bearer" or "basic", or put it into "secretHeaders"')
    return _require_header(value)


def _require_header_text(value: str) -> str:
    if not (value.isprintable() and value.isascii()):
        raise sentence("has characters that a header cannot have")
    return value


Network: TypeAlias = Annotated[IPv4Network | IPv6Network, BeforeValidator(_read_network)]
Url: TypeAlias = Annotated[str, AfterValidator(_require_url)]
Header: TypeAlias = Annotated[str, AfterValidator(_require_header)]
PlainHeader: TypeAlias = Annotated[str, AfterValidator(_require_plain_header)]
HeaderText: TypeAlias = Annotated[str, AfterValidator(_require_header_text)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


# --- parts -------------------------------------------------------------------------------------------------------------


class SecretReference(SettingsModel):
    """Where a secret is: in a file, which is read at each use, or in a variable of the daemon's environment."""

    file: Path | None = None
    env: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_secrets(cls, value: object) -> object:
        if not isinstance(value, dict | SecretReference):
            raise sentence("has to say where the secret is: {file: PATH} or {env: NAME}; secrets themselves are never here")
        return value

    @model_validator(mode="after")
    def _require_one(self) -> SecretReference:
        if (self.file is None) == (self.env is None):
            raise sentence('has to say where the secret is, by "file" or by "env", one of the two')
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


def _as_text(value: object) -> object:
    """YAML takes a version without quotes for a number."""
    return str(value) if isinstance(value, float) else value


class TlsVersion(StrEnum):
    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class ClientCertificates(StrEnum):
    REQUIRED = "required"
    """Nobody is spoken to without one."""
    OPTIONAL = "optional"
    """Who shows none is a caller without a certificate; probes, callbacks and browsers are that."""


class ListenTlsSettings(SettingsModel):
    """TLS on `listen`. All files are PEM, and read again when they change."""

    certificate_file: Path
    """With the intermediate authorities behind it."""
    key_file: Path
    minimum_version: Annotated[TlsVersion, BeforeValidator(_as_text)] = TlsVersion.TLS_1_2
    client_ca_file: Path | None = None
    """Whose certificates callers are known by. Without it, they are asked for none."""
    client_certificates: ClientCertificates = ClientCertificates.REQUIRED

    @model_validator(mode="after")
    def _require_authority(self) -> ListenTlsSettings:
        if self.client_ca_file is None and "client_certificates" in self.model_fields_set:
            raise sentence('has "clientCertificates" without "clientCaFile", so there are none to know; add it, or remove that')
        return self


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
    limit: Count | None = None
    """How many rollouts may be under way on it at a time."""
    windows: tuple[WindowSettings, ...] = ()
    """When rollouts may begin on it, in the place of the windows of all accounts."""
    freezes: tuple[FreezeSettings, ...] = ()
    """In addition to the freezes of all accounts."""

    @model_validator(mode="after")
    def _require_one_place(self) -> AccountSettings:
        if self.in_cluster and (self.kubeconfig is not None or self.context is not None):
            raise sentence('is "inCluster" and names a kubeconfig or context as well; keep one of them')
        return self


class _SourceSettings(SettingsModel):
    tls: TlsSettings | None = None
    timeout: Seconds = 10.0


class _ProviderSettings(_SourceSettings):
    basic: BasicLogin | None = None
    bearer: SecretReference | None = None

    @model_validator(mode="after")
    def _require_one_login(self) -> _ProviderSettings:
        if self.basic is not None and self.bearer is not None:
            raise sentence('has both "basic" and "bearer"; keep one of them')
        return self


class PrometheusSettings(_ProviderSettings):
    type: Literal["prometheus"]
    url: Url


class ScrapeSettings(_ProviderSettings):
    """Metric pages that the daemon reads itself, without a metrics server."""

    type: Literal["scrape"]
    urls: tuple[Url, ...] = Field(min_length=1)
    interval: Seconds = 5.0


class DatadogVersion(StrEnum):
    V1 = "v1"
    """Points of a window, of which one number is made here."""
    V2 = "v2"
    """One number, which Datadog makes of the window."""


class DatadogAggregator(StrEnum):
    LAST = "last"
    AVERAGE = "avg"
    SUM = "sum"
    MINIMUM = "min"
    MAXIMUM = "max"


class DatadogSettings(_SourceSettings):
    type: Literal["datadog"]
    site: Annotated[str, AfterValidator(_require_datadog_site)] = "datadoghq.com"
    url: Url | None = None
    """The API's root, where it is not that of a site."""
    api_key: SecretReference
    application_key: SecretReference
    api: DatadogVersion = DatadogVersion.V1
    aggregator: DatadogAggregator = DatadogAggregator.LAST

    @model_validator(mode="after")
    def _require_one_place(self) -> DatadogSettings:
        if self.url is not None and "site" in self.model_fields_set:
            raise sentence('has both "site" and "url"; keep one of them')
        return self


class NewRelicRegion(StrEnum):
    US = "us"
    EU = "eu"


class NewRelicSettings(_SourceSettings):
    type: Literal["newrelic"]
    account_id: Annotated[int, Field(gt=0, le=2**31 - 1)]
    api_key: SecretReference
    """A user key."""
    region: NewRelicRegion = NewRelicRegion.US
    url: Url | None = None
    """NerdGraph's address, where it is not that of a region."""

    @model_validator(mode="after")
    def _require_one_place(self) -> NewRelicSettings:
        if self.url is not None and "region" in self.model_fields_set:
            raise sentence('has both "region" and "url"; keep one of them')
        return self


class JsonMethod(StrEnum):
    GET = "GET"
    POST = "POST"
    PUT = "PUT"


class JsonSettings(_ProviderSettings):
    """Anything that answers HTTP with JSON."""

    type: Literal["json"]
    url: Annotated[str, AfterValidator(_require_address_template)]
    method: JsonMethod = JsonMethod.GET
    headers: dict[PlainHeader, HeaderText] = Field(default_factory=dict)
    secret_headers: dict[Header, SecretReference] = Field(default_factory=dict)
    body: Annotated[object, AfterValidator(_require_body_template)] = None
    """Sent as JSON."""
    value: Annotated[str | None, AfterValidator(_require_expression)] = None
    """The JMESPath expression that picks the number; without one, queries are expressions."""

    @model_validator(mode="after")
    def _require_use_of_queries(self) -> JsonSettings:
        from adapters.metrics.placeholders import uses_query  # as for the expression

        asks = uses_query(self.url, cast("JsonValue", self.body))
        if asks and self.value is None:
            raise sentence('has {{query}} in its request and no "value"; add the JMESPath expression that picks the number')
        if self.value is not None and not asks:
            raise sentence(
                'has a "value", but {{query}} is neither in "url" nor in "body", so that all queries would be the same; '
                'put it there, or remove "value" and write the expressions as queries'
            )
        if self.body is not None and self.method is JsonMethod.GET:
            raise sentence('has a "body", which GET does not send; add "method: POST"')
        return self


ProviderSettings: TypeAlias = Annotated[
    PrometheusSettings | ScrapeSettings | DatadogSettings | NewRelicSettings | JsonSettings, Field(discriminator="type")
]


def _require_variable(value: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is None:
        raise sentence("is not the name of an environment variable; expected letters, digits and underscores")
    if value.startswith("HEADGATE_"):
        raise sentence("is a variable that Headgate itself gives the program; choose a name that does not begin with HEADGATE_")
    return value


def _require_no_null(value: str) -> str:
    if "\0" in value:
        raise sentence("holds a null byte, which no program can be given; remove it")
    return value


Variable: TypeAlias = Annotated[str, AfterValidator(_require_variable)]
Argument: TypeAlias = Annotated[str, AfterValidator(_require_no_null)]


class CommandSettings(SettingsModel):
    """A program on the daemon's host that `runCommand` steps may have started."""

    argv: tuple[Argument, ...] = Field(min_length=1)
    """The program and its arguments, as they are: no shell reads them."""
    directory: Path | None = None
    """Where it is started; without it, where the daemon was."""
    env: dict[Variable, Argument] = Field(default_factory=dict)
    secret_env: dict[Variable, SecretReference] = Field(default_factory=dict)
    timeout: Seconds | None = None
    """At most this long, whatever the step allows."""

    @model_validator(mode="after")
    def _require_distinct(self) -> CommandSettings:
        if both := sorted(self.env.keys() & self.secret_env.keys()):
            raise sentence(f'has {both[0]} both in "env" and in "secretEnv"; keep one of them')
        return self


class WebhookSettings(SettingsModel):
    """Where webhooks may go, by the address that is connected to. Beside this, link-local addresses, metadata services of clouds
    and the daemon's own listener are refused."""

    allow: tuple[Network, ...] = ()
    """Whatever else would refuse it."""
    deny: tuple[Network, ...] = ()


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


class RetentionSettings(SettingsModel):
    """How long the past is kept; whatever has not ended is kept for as long as it lasts."""

    days: Count = 365
    """For so many days after its end, every release."""
    releases: Count = 20
    """So many of the newest of each application that brought a version, and can be taken back, whatever their age."""

    def as_retention(self) -> Retention:
        return Retention(timedelta(days=self.days), self.releases)


class FileSettings(SettingsModel):
    """The file as it is written; everything may be left out."""

    store: Annotated[Path | StoreAddress | None, BeforeValidator(read_store)] = None
    store_password: SecretReference | None = None
    socket: Path | None = None
    listen: Annotated[Address | None, BeforeValidator(_read_address)] = None
    tls: ListenTlsSettings | None = None
    tokens: tuple[Token, ...] = ()
    public_url: Url | None = None
    high_availability: AvailabilitySettings | None = None
    accounts: dict[Name, AccountSettings] = Field(default_factory=dict)
    metric_providers: dict[Name, ProviderSettings] = Field(default_factory=dict)
    secrets: dict[Name, SecretReference] = Field(default_factory=dict)
    webhooks: WebhookSettings = WebhookSettings()
    commands: dict[Name, CommandSettings] = Field(default_factory=dict)
    limits: LimitSettings = LimitSettings()
    windows: tuple[WindowSettings, ...] = ()
    freezes: tuple[FreezeSettings, ...] = ()
    deploy_folders: tuple[Path, ...] = ()
    manifest_folders: tuple[Path, ...] = ()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()


# --- the settings in force ---------------------------------------------------------------------------------------------


class Settings(SettingsModel):
    """What holds: the file's fields, and the defaults where it says nothing. Paths are absolute."""

    source: Path | None
    """The file; None when there is none."""
    store: Path | StoreAddress
    store_password: SecretReference | None = None
    socket: Path
    listen: Address | None = None
    tls: ListenTlsSettings | None = None
    """Of `listen`; without it, that is plain HTTP."""
    tokens: tuple[Token, ...] = ()
    public_url: str | None = None
    """How others reach the daemon: the beginning of callback addresses and of links."""
    high_availability: AvailabilitySettings | None = None
    """None: this daemon takes turns with nobody."""
    accounts: dict[str, AccountSettings] = Field(default_factory=dict)
    metric_providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    secrets: dict[str, SecretReference] = Field(default_factory=dict)
    webhooks: WebhookSettings = WebhookSettings()
    """Where they may go."""
    commands: dict[str, CommandSettings] = Field(default_factory=dict)
    """The programs that deploy files may have started as tests."""
    limits: LimitSettings = LimitSettings()
    windows: tuple[WindowSettings, ...] = ()
    """When rollouts may begin on every account that has no windows of its own; none: always."""
    freezes: tuple[FreezeSettings, ...] = ()
    deploy_folders: tuple[Path, ...] = ()
    """What lies in them is rolled out; each once."""
    manifest_folders: tuple[Path, ...] = ()
    """Where manifests of their files may be, beside the deploy folders themselves."""
    retention: RetentionSettings = RetentionSettings()
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
    store = written.store or default_store(around)
    password = written.store_password
    return Settings(
        source=source,
        store=absolute(store) if isinstance(store, Path) else store,
        store_password=None if password is None else _place_secret(password, absolute),
        socket=absolute(written.socket or default_socket(around)),
        listen=written.listen,
        tls=None if written.tls is None else _place_tls(written.tls, absolute),
        tokens=written.tokens,
        public_url=written.public_url,
        high_availability=written.high_availability,
        accounts=accounts,
        metric_providers={name: _place_provider(one, absolute) for name, one in written.metric_providers.items()},
        secrets={name: _place_secret(one, absolute) for name, one in written.secrets.items()},
        webhooks=written.webhooks,
        commands={name: _place_command(one, absolute) for name, one in written.commands.items()},
        limits=written.limits,
        windows=written.windows,
        freezes=written.freezes,
        deploy_folders=tuple(dict.fromkeys(absolute(folder) for folder in written.deploy_folders)),
        manifest_folders=tuple(dict.fromkeys(absolute(folder) for folder in written.manifest_folders)),
        retention=written.retention,
        log=written.log,
    )


def _place_secret(secret: SecretReference, absolute: Callable[[Path], Path]) -> SecretReference:
    return secret if secret.file is None else secret.model_copy(update={"file": absolute(secret.file)})


def _place_tls(tls: ListenTlsSettings, absolute: Callable[[Path], Path]) -> ListenTlsSettings:
    files = ("certificate_file", "key_file", "client_ca_file")
    return tls.model_copy(update={file: absolute(path) for file in files if (path := getattr(tls, file)) is not None})


def _place_command(command: CommandSettings, absolute: Callable[[Path], Path]) -> CommandSettings:
    """A program that is named without a path is looked for in PATH."""
    program, *arguments = command.argv
    placed: dict[str, object] = {
        "argv": (str(absolute(Path(program))) if "/" in program else program, *arguments),
        "directory": None if command.directory is None else absolute(command.directory),
        "secret_env": {name: _place_secret(one, absolute) for name, one in command.secret_env.items()},
    }
    return command.model_copy(update=placed)


def _place_provider(provider: ProviderSettings, absolute: Callable[[Path], Path]) -> ProviderSettings:
    """The provider with absolute paths, in whichever of its fields secrets and files are."""
    placed: dict[str, object] = {}
    for name in type(provider).model_fields:
        match getattr(provider, name):
            case SecretReference() as secret:
                placed[name] = _place_secret(secret, absolute)
            case BasicLogin() as login:
                placed[name] = login.model_copy(update={"password": _place_secret(login.password, absolute)})
            case TlsSettings() as tls:
                files = ("ca_file", "certificate_file", "key_file")
                named = {file: absolute(path) for file in files if (path := getattr(tls, file)) is not None}
                placed[name] = tls.model_copy(update=named)
    if isinstance(provider, JsonSettings):
        headers = {name: _place_secret(secret, absolute) for name, secret in provider.secret_headers.items()}
        placed["secret_headers"] = headers
    return provider.model_copy(update=placed)
