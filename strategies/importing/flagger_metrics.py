"""The metrics of a Flagger Canary -> queries with limits.

Flagger tells the versions apart by two Deployments; here both are the same Deployment, and the new one is known by the
names of its pods, which begin with that of its ReplicaSet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from strategies.importing.draft import Draft, Measured, Part
from strategies.importing.flagger_traffic import Mesh
from strategies.importing.input_file import METRIC_TEMPLATE, InputFile, InputObject
from strategies.importing.subjects import Lost, Subject
from strategies.places import Place
from strategies.suggestions import quote

_SETTINGS = "give the daemon's settings a provider of that name (docs/metrics.md)"
_PODS = "{{armory.replicaSetName}}-.+"
_NAMESPACE = "{{armory.namespace}}"
_VARIABLE = re.compile(r"\{\{-?\s*(?P<name>[a-z]+(?:\.[\w-]+)?)\s*-?\}\}")
_TARGET_PODS = re.compile(r"\{\{\s*target\s*\}\}-\[0-9a-zA-Z\]\+\(-\[0-9a-zA-Z\]\+\)")
_PROVIDERS = {"prometheus": "prometheus", "datadog": "datadog", "newrelic": "newrelic"}
_TEMPLATE_LOST: Lost = {
    "secretRef": ("names the Secret with the credentials", "give them in the daemon's settings"),
    "region": ("is the provider's region", "set it in the daemon's settings"),
    "headers": ("were sent along", "set them in the daemon's settings"),
    "insecureSkipVerify": ("skipped the check of the certificate", "set tls.insecure in the daemon's settings"),
    "bearerTokenSecretRef": ("names the Secret with the token", "give it in the daemon's settings"),
}


@dataclass(frozen=True, slots=True)
class _Builtin:
    """Where a mesh counts requests and measures how long they take."""

    requests: str
    good: str
    duration: str
    labels: str
    in_seconds: bool = False


_BUILTIN: Mapping[Mesh, _Builtin] = {
    Mesh.ISTIO: _Builtin(
        "istio_requests_total",
        'response_code!~"5.*"',
        "istio_request_duration_milliseconds_bucket",
        f'reporter="destination",destination_workload_namespace="{_NAMESPACE}",pod=~"{_PODS}"',
    ),
    Mesh.LINKERD: _Builtin(
        "response_total",
        'classification!="failure"',
        "response_latency_ms_bucket",
        f'namespace="{_NAMESPACE}",pod=~"{_PODS}",direction="inbound"',
    ),
    Mesh.OSM: _Builtin(
        "osm_request_total",
        'response_code!~"5.*"',
        "osm_request_duration_ms_bucket",
        f'destination_namespace="{_NAMESPACE}",destination_pod=~"{_PODS}"',
    ),
    Mesh.APP_MESH: _Builtin(
        "envoy_cluster_upstream_rq",
        'envoy_response_code!~"5.*"',
        "envoy_cluster_upstream_rq_time_bucket",
        f'kubernetes_namespace="{_NAMESPACE}",kubernetes_pod_name=~"{_PODS}"',
    ),
    Mesh.NONE: _Builtin(
        "http_request_duration_seconds_count",
        'status!~"5.*"',
        "http_request_duration_seconds_bucket",
        f'kubernetes_namespace="{_NAMESPACE}",kubernetes_pod_name=~"{_PODS}"',
        in_seconds=True,
    ),
}
_BUILTIN = {**_BUILTIN, Mesh.SMI: _BUILTIN[Mesh.LINKERD], Mesh.GATEWAY_API: _BUILTIN[Mesh.NONE]}


def read_metrics(
    canary: Subject,
    analysed: Place,
    file: InputFile,
    item: InputObject,
    target: str,
    apex: str,
    mesh: Mesh,
    spec: Place,
    draft: Draft,
) -> list[Measured]:
    server = canary.take(spec, "metricsServer")
    if server is not None:
        canary.fill_in(server, f"is {server.text}; here it is the metric provider prometheus", _SETTINGS)
    measured: list[Measured] = []
    for metric in analysed.items("metrics"):
        found = _read_metric(canary, metric, file, item, target, apex, mesh, spec, draft, server)
        if found is not None:
            measured.append(Measured(found))
    return measured


def _read_metric(
    canary: Subject,
    metric: Place,
    file: InputFile,
    item: InputObject,
    target: str,
    apex: str,
    mesh: Mesh,
    spec: Place,
    draft: Draft,
    server: Place | None,
) -> str | None:
    name = canary.text(metric, "name") or "unnamed"
    interval = canary.text(metric, "interval") or "1m"
    limits = _read_limits(canary, metric, name)
    reference = metric.get("templateRef")
    inline = canary.text(metric, "query")
    if reference is not None:
        variables = _Variables(canary, metric, item, target, apex, interval, spec)
        asked = _from_template(canary, reference, file, item, variables)
    elif inline is not None:
        variables = _Variables(canary, metric, item, target, apex, interval, spec)
        asked = "prometheus", variables.rewrite(inline, canary, metric)
    else:
        asked = _built_in(canary, metric, name, mesh, interval, server)
    if asked is None or limits is None:
        return None
    provider, query = asked
    return draft.add_query(name, {"queryTemplate": query, **limits, "metricProviderName": provider})


def _read_limits(canary: Subject, metric: Place, name: str) -> Part | None:
    wanted = metric.get("thresholdRange")
    lower, upper = canary.number(wanted, "min"), canary.number(wanted, "max")
    if wanted is None and metric.get("threshold") is not None:
        old = canary.number(metric, "threshold")
        lower, upper = (old, None) if name == "request-success-rate" else (None, old)
    limits: Part = {}
    if upper is not None:
        limits["upperLimit"] = upper
    if lower is not None:
        limits["lowerLimit"] = lower
    if not limits:
        canary.lost(metric, "has no limits, so it always passed", "write the query by hand, with a limit, if it matters")
        return None
    if lower is not None and upper is not None and lower > upper:
        canary.error(wanted or metric, f"is from {lower:g} to {upper:g}, so nothing can pass")
        return None
    return limits


# --- built in ------------------------------------------------------------------------------------------------------------


def _built_in(
    canary: Subject, metric: Place, name: str, mesh: Mesh, interval: str, server: Place | None
) -> tuple[str, str] | None:
    builtin = _BUILTIN.get(mesh)
    if name not in ("request-success-rate", "request-duration"):
        canary.lost(metric, f"{quote(name)} is no metric that Flagger has, and names no template", "write its query by hand")
        return None
    if builtin is None:
        which = "of the provider, which the Canary does not name" if mesh is Mesh.UNKNOWN else "of that provider"
        canary.lost(
            metric,
            f"measured by the metrics {which}",
            "write a query over the new version's pods, whose names begin with {{armory.replicaSetName}}",
        )
        return None
    canary.changed(
        metric,
        "selected the pods by their Deployment",
        "here it selects those of the new version by their names; see that your metrics carry that label",
    )
    if server is None:
        canary.fill_in_once(metric, "asked the metrics server of Flagger; here it is the metric provider prometheus", _SETTINGS)
    labels = builtin.labels
    if name == "request-success-rate":
        good = f"sum(rate({builtin.requests}{{{labels},{builtin.good}}}[{interval}]))"
        return "prometheus", f"100 * {good}\n/ sum(rate({builtin.requests}{{{labels}}}[{interval}]))"
    quantile = f"histogram_quantile(0.99, sum(rate({builtin.duration}{{{labels}}}[{interval}])) by (le))"
    return "prometheus", f"1000 * {quantile}" if builtin.in_seconds else quantile


# --- templates -----------------------------------------------------------------------------------------------------------


class _Variables:
    """The variables of a MetricTemplate, as they are here."""

    def __init__(
        self, canary: Subject, metric: Place, item: InputObject, target: str, apex: str, interval: str, spec: Place
    ) -> None:
        ingress = spec.at("ingressRef", "name")
        route = spec.at("routeRef", "name")
        self._target = target
        self._known = {
            "name": item.name,
            "namespace": _NAMESPACE,
            "target": target,
            "service": apex,
            "ingress": (ingress.text if ingress is not None else None) or target,
            "route": (route.text if route is not None else None) or target,
            "interval": interval,
            "armory.replicaSetName": "{{armory.replicaSetName}}",
        }
        own = canary.take(metric, "templateVariables")
        for key, value in own.entries() if own is not None else ():
            self._known[f"variables.{key}"] = str(value.value)

    def rewrite(self, query: str, subject: Subject, place: Place) -> str:
        query = _TARGET_PODS.sub("{{armory.replicaSetName}}(-[0-9a-zA-Z]+)", query)
        names = {match["name"] for match in _VARIABLE.finditer(query)}
        if "target" in names or "service" in names:
            subject.changed(
                place,
                "told the versions apart by the names of their Deployments or Services",
                "both versions have the same ones here; select the new one's pods by {{armory.replicaSetName}}",
            )
        for name in sorted(names - self._known.keys()):
            subject.fill_in(
                place,
                f"uses the variable {quote(name)}, to which the input gives no value",
                f'give {quote(name.rpartition(".")[2])} a value in the "context" of the deploy file',
            )
        return _VARIABLE.sub(self._replace, query).strip()

    def _replace(self, match: re.Match[str]) -> str:
        return self._known.get(match["name"], f"{{{{context.{match['name'].rpartition('.')[2]}}}}}")


def _from_template(
    canary: Subject, reference: Place, file: InputFile, item: InputObject, variables: _Variables
) -> tuple[str, str] | None:
    name, namespace = canary.text(reference, "name"), canary.text(reference, "namespace")
    found = file.find(METRIC_TEMPLATE, name or "", namespace or item.namespace)
    if found is None:
        canary.lost(
            reference,
            f"measures by the MetricTemplate {quote(name or '')}, which is not in the input",
            "put it into the file and import again, or write its query by hand",
        )
        return None
    template = file.subject(found)
    spec = found.place.get("spec")
    kind = template.text(spec.get("provider") if spec is not None else None, "type") or ""
    query = template.text(spec, "query")
    provider = spec.get("provider") if spec is not None else None
    place = provider or found.place
    template.lose(provider, _TEMPLATE_LOST)
    address = template.text(provider, "address")
    if kind not in _PROVIDERS:
        template.lost(
            place, f"asks {kind or 'nothing'}", "use a provider that Headgate has, or one of the type json (docs/metrics.md)"
        )
        return None
    if query is None:
        template.error(spec or found.place, 'has no "query"')
        return None
    where = f"asked {address}" if address is not None else "is the metrics server"
    template.fill_in_once(place, f"{where}; here it is the metric provider {_PROVIDERS[kind]}", _SETTINGS)
    return _PROVIDERS[kind], variables.rewrite(query, template, spec.get("query") or place if spec is not None else place)
