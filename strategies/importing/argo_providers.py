"""The metric providers of an Argo analysis -> the provider's name and the query of a deploy file."""

from __future__ import annotations

import json
from dataclasses import dataclass

from strategies.importing.subjects import Subject
from strategies.places import Place
from strategies.yaml_document import to_plain

_SETTINGS = "give the daemon's settings a provider of that name (docs/metrics.md)"
_LOST = {
    "web": (
        "asks an address for JSON",
        "make that address a provider of the type json, and write its query by hand (docs/metrics.md)",
    ),
    "job": ("runs a Job of the cluster", "call a webhook that runs it (runWebhook), and let it call back"),
    "kayenta": ("asks Kayenta for a judgement", "write the queries themselves, with limits"),
    "wavefront": ("asks Wavefront", "use a provider of the type json, or another metrics server"),
    "cloudWatch": ("asks CloudWatch", "use a provider of the type json, or another metrics server"),
    "graphite": ("asks Graphite", "use a provider of the type json (its render API answers JSON)"),
    "influxdb": ("asks InfluxDB", "use a provider of the type json, or another metrics server"),
    "skywalking": ("asks SkyWalking", "use a provider of the type json, or another metrics server"),
    "plugin": ("asks a plugin of Argo", "use a provider that Headgate has, or one of the type json"),
}
_PROMETHEUS_LOST = {
    "rangeQuery": ("asked for a range of samples", "write an instant query that makes one number of the range"),
    "timeout": ("bounded one question", "set the provider's timeout in the daemon's settings"),
    "headers": ("were sent along", "set them in the daemon's settings"),
    "authentication": ("was the login", "set the login in the daemon's settings"),
    "insecure": ("skipped the check of the certificate", "set tls.insecure in the daemon's settings"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    provider: str
    query: str


def read_provider(template: Subject, metric: Place) -> Asked | None:
    """None when the provider is not one that Headgate has; that has been said then."""
    provider = metric.get("provider")
    for name, read in (("prometheus", _prometheus), ("datadog", _datadog), ("newRelic", _new_relic)):
        if provider is not None and (found := provider.get(name)) is not None:
            return read(template, found)
    for name, (meaning, instead) in _LOST.items():
        if provider is not None and (found := provider.get(name)) is not None:
            template.lost(found, meaning, instead)
            return None
    template.lost(provider or metric, "names no provider that this import knows", "write the query by hand")
    return None


def _prometheus(template: Subject, found: Place) -> Asked | None:
    query = template.text(found, "query")
    address = template.take(found, "address")
    template.lose(found, _PROMETHEUS_LOST)
    place = address if address is not None else found
    where = f"asked {address.text}" if address is not None and address.text is not None else "is the metrics server"
    template.fill_in_once(place, f"{where}; here it is the metric provider prometheus", _SETTINGS)
    if query is None:
        template.error(found, 'has no "query"')
        return None
    return Asked("prometheus", query.strip())


def _datadog(template: Subject, found: Place) -> Asked | None:
    version = template.text(found, "apiVersion") or "v1"
    query, queries = template.text(found, "query"), template.take(found, "queries")
    formula = template.text(found, "formula")
    aggregator = template.text(found, "aggregator")
    template.lose(
        found,
        {
            "interval": ("is the range that a query covers", "the window of the analysis step takes its place"),
            "secretRef": ("names the Secret with the keys", "give the keys in the daemon's settings"),
        },
    )
    extra = f" and aggregator {aggregator}" if aggregator is not None else ""
    template.fill_in_once(found, f"is the metric provider datadog here, with api {version}{extra}", _SETTINGS)
    if version == "v1" and query is not None:
        return Asked("datadog", query.strip())
    several = to_plain(queries.node) if queries is not None and queries.is_mapping else {"query": query or ""}
    body: dict[str, object] = {"queries": {str(key): str(value) for key, value in several.items()}}
    if formula is not None:
        body["formula"] = formula
    if query is None and queries is None:
        template.error(found, 'has no "query"')
        return None
    return Asked("datadog", json.dumps(body, ensure_ascii=False))


def _new_relic(template: Subject, found: Place) -> Asked | None:
    query = template.text(found, "query")
    template.lose(
        found,
        {
            "profile": ("names the Secret with the account and its key", "give them in the daemon's settings"),
            "timeout": ("bounded one question", "set the provider's timeout in the daemon's settings"),
        },
    )
    template.fill_in_once(found, "is the metric provider newrelic here", _SETTINGS)
    if query is None:
        template.error(found, 'has no "query"')
        return None
    return Asked("newrelic", query.strip())
