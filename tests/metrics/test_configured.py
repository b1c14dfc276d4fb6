"""From the settings file to an answer: providers as they are configured, and what is said of settings that are wrong."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from adapters.metrics.configured import AskedSettings, access_of, build_provider
from adapters.metrics.outcome import Outcome, OutcomeKind, Query
from adapters.settings import DatadogSettings, JsonSettings, ScrapeSettings, Surroundings
from adapters.settings_reader import SettingsInvalid, load_settings, parse_settings
from tests.metrics.scripted import START, HurriedClock, serving

QUERY = Query("errors", START, START)
ENVIRONMENT = {"API": "api-k3y", "APP": "app-k3y"}
DATADOG = "type: datadog, url: URL, apiKey: {env: API}, applicationKey: {env: APP}"
NEWRELIC = "type: newrelic, url: URL/graphql, accountId: 7, apiKey: {env: API}"
JSON = "type: json, url: 'URL/m?q={{query}}', value: a.b, secretHeaders: {X-Key: {env: API}}, headers: {X-Team: a}"


def provider_in(text: str) -> AskedSettings:
    found = parse_settings(f"metricProviders: {{a: {{{text}}}}}".encode(), "headgate.yaml").metric_providers["a"]
    assert not isinstance(found, ScrapeSettings)
    return found


async def answer_all(request: web.Request) -> web.Response:
    """Every documented interface at once, for those who show the right keys."""
    shown = [request.headers.get(name) for name in ("DD-API-KEY", "API-Key", "X-Key")]
    if "api-k3y" not in shown:
        return web.Response(status=401)
    match request.path:
        case "/api/v1/query":
            return web.json_response({"status": "ok", "series": [{"pointlist": [[0, 1], [1, 3]]}]})
        case "/api/v2/query/scalar":
            columns = [{"type": "number", "values": [4 if request.headers["DD-APPLICATION-KEY"] == "app-k3y" else None]}]
            return web.json_response({"data": {"attributes": {"columns": columns}}})
        case "/graphql":
            account = (await request.json())["variables"]["account"]
            return web.json_response({"data": {"actor": {"account": {"nrql": {"results": [{"count": account}]}}}}})
        case _:
            return web.json_response({"a": {"b": str(len(request.query["q"]))}, "team": request.headers["X-Team"]})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (DATADOG, 3.0),
        (f"{DATADOG}, aggregator: avg", 2.0),
        (f"{DATADOG}, api: v2", 4.0),
        (NEWRELIC, 7.0),
        (JSON, 6.0),
    ],
)
async def test_a_configured_provider_measures(session: aiohttp.ClientSession, text: str, value: float) -> None:
    async with serving(answer_all) as url:
        found = provider_in(text.replace("URL", url))
        outcome = await build_provider(found, session, HurriedClock(), ENVIRONMENT).measure(QUERY)
    assert (outcome.kind, outcome.value) == (OutcomeKind.VALUE, value), outcome.detail


@pytest.mark.parametrize("text", [DATADOG, NEWRELIC, JSON])
async def test_a_key_that_is_not_there_is_named_by_its_place(session: aiohttp.ClientSession, text: str) -> None:
    found = provider_in(text.replace("URL", "http://127.0.0.1:1"))
    outcome = await build_provider(found, session, HurriedClock(), {}).measure(QUERY)
    assert outcome.kind is OutcomeKind.ERROR
    assert outcome.detail.endswith("was not asked: the variable API of the daemon's environment is empty or not set")


async def test_the_addresses_of_sites_and_regions_are_known(session: aiohttp.ClientSession) -> None:
    keys = "apiKey: {env: API}"
    texts = [f"type: datadog, {keys}, applicationKey: {{env: APP}}, site: us5.datadoghq.com"]
    texts += [f"type: newrelic, accountId: 1, {keys}, region: eu"]
    details = [
        (await build_provider(provider_in(text), session, HurriedClock(), {}).measure(QUERY)).detail for text in texts
    ]
    assert details[0].startswith("https://api.us5.datadoghq.com/api/v1/query was not asked")
    assert details[1].startswith("https://api.eu.newrelic.com/graphql was not asked")


async def test_a_query_may_be_the_expression(session: aiohttp.ClientSession) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"errors": 5})

    async with serving(answer) as url:
        found = provider_in(f"type: json, url: '{url}/m'")
        outcome = await build_provider(found, session, HurriedClock(), {}).measure(QUERY)
    assert outcome == Outcome(OutcomeKind.VALUE, 5.0, "the result is 5")


def test_paths_are_taken_from_the_directory_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(
        "metricProviders:\n"
        "  d: {type: datadog, apiKey: {file: api}, applicationKey: {file: ~/app}, tls: {caFile: ca.pem}}\n"
        "  j: {type: json, url: 'http://x/', secretHeaders: {X-Key: {file: key}}, basic: {username: a, password: {file: p}}}\n"
    )
    providers = load_settings(file, Surroundings({}, Path("/home/ada"), is_root=False)).metric_providers
    datadog, service = providers["d"], providers["j"]
    assert isinstance(datadog, DatadogSettings)
    assert (datadog.api_key.file, datadog.application_key.file) == (tmp_path / "api", Path("/home/ada/app"))
    tls = access_of(datadog, {}).tls
    assert tls is not None
    assert tls.ca_file == tmp_path / "ca.pem"
    assert isinstance(service, JsonSettings)
    assert service.secret_headers["X-Key"].file == tmp_path / "key"
    assert service.basic is not None
    assert service.basic.password.file == tmp_path / "p"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("type: datadog, apiKey: {env: A}", 'metricProviders.a has no "applicationKey"; add it'),
        ("type: datadog, site: app.datadoghq.eu", 'a.site is not a site of Datadog; expected for instance "datadoghq.com"'),
        (f"{DATADOG}, site: datadoghq.eu".replace("URL", "http://x"), 'metricProviders.a has both "site" and "url"'),
        (f"{DATADOG}, api: v3".replace("URL", "http://x"), 'a.api is the text "v3"; expected v1 or v2'),
        ("type: datadog, aggregator: mean", 'a.aggregator is the text "mean"; expected last, avg, sum, min or max'),
        ("type: datadog, appKey: {env: A}", 'unknown field "appKey" in metricProviders.a; did you mean "apiKey"?'),
        ("type: newrelic, apiKey: {env: A}", 'metricProviders.a has no "accountId"; add it'),
        ("type: newrelic, accountId: 12x", 'a.accountId is the text "12x"; expected a whole number'),
        ("type: newrelic, accountId: 0", "a.accountId is 0; expected more than 0"),
        ("type: newrelic, region: jp", 'a.region is the text "jp"; expected us or eu'),
        (f"{NEWRELIC}, region: eu".replace("URL", "http://x"), 'metricProviders.a has both "region" and "url"'),
        ("type: newrelic, bearer: {env: A}", 'unknown field "bearer" in metricProviders.a'),
        ("type: json, url: 'https://x/{{query}}', value: b", "a.url has {{query}} in its path"),
        ("type: json, url: 'https://x/?q={{query}}'", 'has {{query}} in its request and no "value"; add the JMESPath'),
        ("type: json, url: 'https://x/', value: b", 'has a "value", but {{query}} is neither in "url" nor in "body"'),
        ("type: json, url: 'https://x/', value: b..c", "a.value is not a JMESPath expression: unexpected '.' at character 3"),
        ("type: json, url: 'https://x/', value: 'f(b)'", "a.value is an expression that calls f(...); known here: abs"),
        ("type: json, url: 'https://x/?q={{query}}', value: b, body: {}", 'has a "body", which GET does not send'),
        ("type: json, url: 'https://x/', method: POST, body: text", "a.body is not a mapping or a list"),
        ("type: json, url: 'https://x/', method: POST, body: [{b: '{{q}}'}]", "a.body has {{q}}, which nothing gives a value"),
        ("type: json, url: 'https://x/', method: POST, body: [.inf]", "a.body has the number inf, which JSON cannot say"),
        ("type: json, url: 'https://x/', method: DELETE", 'a.method is the text "DELETE"; expected GET, POST or PUT'),
        ("type: json, url: 'https://x/', headers: {Cookie: s3cr3t}", "headers.Cookie is a header with a secret; use"),
        ("type: json, url: 'https://x/', headers: {a b: c}", "headers.a b is not the name of a header"),
        ("type: json, url: 'https://x/', headers: {Host: c}", "headers.Host is a header that is set by itself"),
        ('type: json, url: "https://x/", headers: {X: "a\\nb"}', "headers.X has characters that a header cannot have"),
        ("type: json, url: 'https://x/', secretHeaders: {X: {}}", "secretHeaders.X has to say where the secret is"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(text: str, sentence: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        provider_in(text)
    problems = [str(problem) for problem in caught.value.problems]
    assert any(sentence in problem and problem.startswith("headgate.yaml:1:") for problem in problems), problems
    assert "s3cr3t" not in "".join(problems)


@pytest.mark.parametrize("text", ["type: datadog, apiKey: s3cr3t", "type: json, url: 'https://x/', bearer: s3cr3t"])
def test_a_secret_that_stands_in_the_file_is_not_repeated(text: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        provider_in(text)
    said = "\n".join(str(problem) for problem in caught.value.problems)
    assert "has to say where the secret is: {file: PATH} or {env: NAME}" in said
    assert "s3cr3t" not in said
