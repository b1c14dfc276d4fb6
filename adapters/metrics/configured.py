"""Makes a provider of what the daemon's settings say of it. It must not know HTTP, nor which rollout asks.

Pages that are scraped are not made here: they have tasks, which need an owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, cast

import aiohttp

from adapters.metrics.credentials import (
    Access,
    Authentication,
    BasicAuthentication,
    BearerAuthentication,
    CredentialsError,
    Secret,
    TlsFiles,
)
from adapters.metrics.datadog import DatadogApi, DatadogProvider, site_address
from adapters.metrics.datadog_answer import Aggregator
from adapters.metrics.json_expression import JsonExpression
from adapters.metrics.json_http import JsonProvider, JsonRequest, Method
from adapters.metrics.newrelic import NewRelicProvider, Region, region_address
from adapters.metrics.outcome import MetricProvider
from adapters.metrics.placeholders import JsonValue
from adapters.metrics.prometheus import PrometheusProvider
from adapters.secrets import SecretUnreadable, read_secret
from adapters.settings import (
    DatadogSettings,
    JsonSettings,
    NewRelicSettings,
    PrometheusSettings,
    ScrapeSettings,
    SecretReference,
    TlsSettings,
)
from engine.clock import Clock

Environment: TypeAlias = Mapping[str, str]
AskedSettings: TypeAlias = PrometheusSettings | DatadogSettings | NewRelicSettings | JsonSettings


class ReferredSecret:
    """Implements `adapters.metrics.credentials.Secret` by a reference of the settings."""

    def __init__(self, reference: SecretReference, environment: Environment) -> None:
        self._reference = reference
        self._environment = environment

    async def read(self) -> str:
        try:
            return await read_secret(self._reference, self._environment)
        except SecretUnreadable as error:
            raise CredentialsError(str(error)) from None


def build_provider(
    found: AskedSettings, session: aiohttp.ClientSession, clock: Clock, environment: Environment
) -> MetricProvider:
    """The provider that the settings describe. Raises SourceMisconfigured for an address that cannot be used."""
    access = access_of(found, environment)
    match found:
        case PrometheusSettings():
            return PrometheusProvider(session, found.url, clock, access)
        case DatadogSettings():
            return DatadogProvider(
                session,
                found.url or site_address(found.site),
                clock,
                api_key=ReferredSecret(found.api_key, environment),
                application_key=ReferredSecret(found.application_key, environment),
                access=access,
                api=DatadogApi(found.api),
                aggregator=Aggregator(found.aggregator),
            )
        case NewRelicSettings():
            address = found.url or region_address(Region(found.region))
            key = ReferredSecret(found.api_key, environment)
            return NewRelicProvider(session, address, clock, account_id=found.account_id, api_key=key, access=access)
        case JsonSettings():
            return JsonProvider(session, json_request(found), clock, access)


def json_request(found: JsonSettings) -> JsonRequest:
    expression = JsonExpression(found.value) if found.value is not None else None
    return JsonRequest(found.url, Method(found.method), cast("JsonValue", found.body), expression)


def access_of(found: AskedSettings | ScrapeSettings, environment: Environment) -> Access:
    """What a source is asked with. Secrets are read at each use, and not here."""
    headers: Mapping[str, str] = {}
    secret_headers: Mapping[str, Secret] = {}
    if isinstance(found, JsonSettings):
        headers = found.headers
        secret_headers = {name: ReferredSecret(one, environment) for name, one in found.secret_headers.items()}
    return Access(
        authentication=authentication_of(found, environment),
        tls=tls_of(found.tls),
        headers=headers,
        secret_headers=secret_headers,
        timeout_s=found.timeout,
    )


def authentication_of(found: AskedSettings | ScrapeSettings, environment: Environment) -> Authentication:
    if isinstance(found, DatadogSettings | NewRelicSettings):
        return None
    if found.bearer is not None:
        return BearerAuthentication(ReferredSecret(found.bearer, environment))
    if found.basic is not None:
        return BasicAuthentication(found.basic.username, ReferredSecret(found.basic.password, environment))
    return None


def tls_of(tls: TlsSettings | None) -> TlsFiles | None:
    return None if tls is None else TlsFiles(tls.ca_file, tls.certificate_file, tls.key_file, tls.insecure)
