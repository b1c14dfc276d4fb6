"""Recognisable secrets in every place where one can come in, and those around a daemon who throw back what they were told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import yaml
from aiohttp import web

Document = dict[str, object]


@dataclass
class Planted:
    """The secrets by where they were put. Each is a text that nothing else holds."""

    texts: dict[str, str] = field(default_factory=dict)

    def put(self, where: str, *, middle: str = '/A+="%') -> str:
        """In its `middle` are characters that are written in another way in addresses and JSON."""
        number = f"{len(self.texts):03}"
        return self.texts.setdefault(where, f"sesame-{number}-{where}-nobody{middle}may-see-{number}")

    def found_in(self, text: str | bytes) -> set[str]:
        """Of which secrets there is a trace: as they are, encoded, or the better part of them, or their end."""
        content = text.encode() if isinstance(text, str) else text
        return {where for where, secret in self.texts.items() if any(form in content for form in _forms(secret))}


def _forms(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw
    yield raw.lower()
    yield raw[: len(raw) // 2 + 4]
    yield raw[-len("may-see-000") :]
    yield quote(secret, safe="").encode()
    yield raw.hex().encode()
    for shift in range(3):  # Wherever it begins in what was encoded.
        encoded = base64.b64encode(b"\0" * shift + raw)
        yield encoded[4:-4]


# --- the outside -------------------------------------------------------------------------------------------------------


@dataclass
class Echo:
    """Answers everybody with all that they have said: in the status line, in headers, and in the body."""

    url: str = ""
    heard: list[str] = field(default_factory=list)
    proxies: dict[int, str] = field(default_factory=dict)
    """Host and port of the proxies beside it, by the status with which each refuses everything."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        told = json.dumps({"headers": dict(request.headers), "url": str(request.url), "path": request.raw_path, "body": body})
        self.heard.append(told)
        if request.path.startswith("/good"):
            found = {"resultType": "scalar", "result": [0, "0.001"]}
            return web.json_response({"status": "success", "data": found, "told": told})
        if request.path.startswith("/page"):
            return web.Response(status=403, text=f"<html><title>{told[:180]}</title>{told}</html>", content_type="text/html")
        reason = " ".join([*request.headers.getall("Authorization", []), request.raw_path, *request.headers.getall("X-Key", [])])
        errors = {"status": "error", "errorType": "x", "error": told, "errors": [told], "message": told, "kind": "Status"}
        headers = {"X-Echo": request.headers.get("Authorization", "none"), "WWW-Authenticate": f'Basic realm="{reason}"'}
        return web.json_response(errors, status=403, reason=reason[:200], headers=headers)


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    side, application = Echo(), web.Application()
    application.router.add_route("*", "/{tail:.*}", side.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        side.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with refusing_proxy(503, side.heard) as unavailable, refusing_proxy(407, side.heard) as unauthorized:
            side.proxies = {503: unavailable, 407: unauthorized}
            yield side
    finally:
        await runner.cleanup()


@asynccontextmanager
async def refusing_proxy(status: int, heard: list[str]) -> AsyncIterator[str]:
    """Refuses every request, also CONNECT, in the words of the login that it was shown. Gives its host and port."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heard.append(head)
        login = head.partition("Proxy-Authorization: Basic ")[2].partition("\r\n")[0]
        reason = base64.b64decode(login).decode()
        writer.write(f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


# --- kubeconfigs -------------------------------------------------------------------------------------------------------


def kubeconfigs(good: Document, planted: Planted, side: Echo) -> dict[str, str]:
    """By account: one that works, with a token, and some that do not, each with another secret."""
    nowhere = "http://127.0.0.1:9"
    key = base64.b64encode(planted.put("kubeconfig-key").encode()).decode()
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", 'echo "$PLUGIN_SECRET $0"; echo "$PLUGIN_SECRET $0" >&2; exit 3', planted.put("plugin-argument")],
        "env": [{"name": "PLUGIN_SECRET", "value": planted.put("plugin-environment")}],
        "interactiveMode": "Never",
    }
    proxy, server = (quote(planted.put(f"{where}-password"), safe="") for where in ("proxy", "server"))
    users: dict[str, tuple[Document, Document]] = {
        "token": ({"server": side.url}, {"token": planted.put("kubeconfig-token")}),
        "basic": ({"server": side.url}, {"username": "ada", "password": planted.put("kubeconfig-password")}),
        "plugin": ({"server": side.url}, {"exec": plugin}),
        "key": ({"server": "https://127.0.0.1:9"}, {"client-certificate-data": key, "client-key-data": key}),
        "proxy": ({"server": nowhere, "proxy-url": f"http://ada:{proxy}@127.0.0.1:9"}, {}),
        "address": ({"server": f"http://ada:{server}@{side.url.removeprefix('http://')}"}, {}),
        "header": ({"server": nowhere}, {"token": f"{planted.put('token-line-break')}\n"}),
    }
    for status, proxy in side.proxies.items():
        login = f"ada:{quote(planted.put(f'proxy-password-{status}'), safe='')}"
        users[f"proxy-{status}"] = {"server": "https://api.example:6443", "proxy-url": f"http://{login}@{proxy}"}, {}
    texts = {name: yaml.safe_dump(_kubeconfig(cluster, user)) for name, (cluster, user) in users.items()}
    broken = f"users:\n- name: a\n  user: {{token: [{planted.put('kubeconfig-not-yaml')}\n"
    odd = yaml.safe_dump(_kubeconfig({"server": 7}, {"token": [planted.put("kubeconfig-odd")]}))
    works = {**good, "users": [{"name": "a", "user": {"token": planted.put("cluster-token")}}]}
    works["contexts"] = [{"name": "a", "context": {**good["contexts"][0]["context"], "user": "a"}}]  # type: ignore[index]
    works["current-context"] = "a"
    return {"good": json.dumps(works), "broken": broken, "odd": odd, **texts}


def _kubeconfig(cluster: Document, user: Document) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": cluster}],
        "users": [{"name": "a", "user": user}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }


# --- settings ----------------------------------------------------------------------------------------------------------


def settings_text(folder: Path, accounts: dict[str, str], planted: Planted, side: Echo, port: int, hashes: dict[str, str]) -> str:
    def file(where: str, **how: str) -> Document:
        path = folder / f"{where}.secret"
        path.write_text(planted.put(where, **how) + "\n")
        return {"file": str(path)}

    for name, text in accounts.items():
        (folder / f"{name}.kubeconfig").write_text(text)
    key = quote(planted.put("address-key"), safe="")
    lines = '/A+="%\n'
    given = file("command-file", middle=lines)
    providers: dict[str, Document] = {
        "good": {"type": "prometheus", "url": f"{side.url}/good", "bearer": file("good-bearer")},
        "bearer": {"type": "prometheus", "url": side.url, "bearer": file("bearer")},
        "basic": {"type": "prometheus", "url": side.url, "basic": {"username": "ada", "password": {"env": "METRICS_PASSWORD"}}},
        "page": {"type": "prometheus", "url": f"{side.url}/page", "bearer": file("page-bearer")},
        "datadog": {"type": "datadog", "url": side.url, "apiKey": file("dd-api"), "applicationKey": file("dd-application")},
        "newrelic": {"type": "newrelic", "accountId": 7, "url": f"{side.url}/graphql", "apiKey": file("nr-key")},
        "service": {
            "type": "json",
            "url": f"{side.url}/q?key={key}&q={{{{query}}}}",
            "secretHeaders": {"X-Key": file("json-key")},
            "value": "a.b",
        },
        "proxied": {"type": "prometheus", "url": "https://metrics.example", "bearer": file("proxied-bearer")},
    }
    whole: Document = {
        "store": "headgate.db",
        "socket": "headgate.sock",
        "listen": f"127.0.0.1:{port}",
        "publicUrl": f"http://127.0.0.1:{port}",
        "tokens": [{"name": name, "sha256": digest} for name, digest in hashes.items()],
        "accounts": {name: {"kubeconfig": f"{name}.kubeconfig"} for name in accounts},
        "metricProviders": providers,
        "secrets": {
            "in-header": {"env": "HOOK_TOKEN"},
            "in-path": file("hook-path"),
            "in-query": file("hook-query", middle=lines),
            "in-body": file("hook-body", middle=lines),
            "in-host": file("hook-host", middle="-AbC-"),
            "signing": file("hook-signing"),
        },
        "commands": {
            "telling": {"argv": ["env"], "secretEnv": {"GIVEN": given, "ALSO": {"env": "COMMAND_SECRET"}}},
            "failing": {"argv": ["sh", "-c", 'echo "$GIVEN"; exit 3'], "secretEnv": {"GIVEN": file("failing-command")}},
            "missing": {"argv": ["/nowhere"], "secretEnv": {"GIVEN": file("missing-command")}},
        },
        "deployFolders": ["deploy.d"],
        "log": {"level": "debug"},
    }
    return json.dumps(whole)


def environment_of(folder: Path, planted: Planted, side: Echo) -> dict[str, str]:
    names = {"HOOK_TOKEN": "hook-header", "METRICS_PASSWORD": "metrics-password", "COMMAND_SECRET": "command-environment"}
    environment = {name: planted.put(where) for name, where in {**names, "SOMETHING_ELSE": "daemon-environment"}.items()}
    netrc = folder / "netrc"
    netrc.write_text(f"default login ada password {planted.put('netrc')}\n")
    netrc.chmod(0o600)
    proxy = f"http://ada:{quote(planted.put('environment-proxy-password'), safe='')}@{side.proxies[503]}"
    return {**environment, "NETRC": str(netrc), "https_proxy": proxy, "no_proxy": "127.0.0.1"}


# --- deploy files ------------------------------------------------------------------------------------------------------


def manifests(planted: Planted, name: str) -> str:
    """A Deployment, and Secrets of every shape."""
    data = base64.b64encode(planted.put(f"{name}-manifest-data").encode()).decode()
    text = planted.put(f"{name}-manifest-text")
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: app, image: "web:2", ports: [{{name: http, containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: data}}
data: {{key: {data}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: text}}
stringData:
  key: {text}
  file: |
    password={text}
"""


def deploy_file(application: str, steps: list[Document], side: Echo) -> str:
    """`steps` of a canary that moves no traffic by itself."""
    hook = {
        "method": "POST",
        "headers": [
            {"key": "Authorization", "value": "Bearer {{secrets.in-header}}"},
            {"key": "X-Back", "value": "{{armory.callbackUri}}"},
        ],
        "bodyTemplate": {"inline": '{"a": "{{secrets.in-body}}", "back": "{{armory.callbackUri}}/callback"}'},
        "signingSecret": "signing",
        "retryCount": 1,
        "timeout": {"duration": 20, "unit": "seconds"},
    }
    path = "{{secrets.in-path}}?k={{secrets.in-query}}"
    urls = {"good": f"{side.url}/good/{path}", "bad": f"{side.url}/{path}", "host": f"http://{{{{secrets.in-host}}}}:9/{path}"}
    urls |= {"proxied": f"https://ci.example/{path}"}
    urls |= {"odd": "{{secrets.in-path}} is no address", "metadata": f"http://169.254.169.254/{path}"}
    providers = ("good", "bearer", "basic", "page", "datadog", "newrelic", "service", "proxied")
    return json.dumps(
        {
            "version": "v1",
            "kind": "kubernetes",
            "application": application,
            "targets": {"production": {"account": "good", "namespace": application, "strategy": "gentle"}},
            "manifests": [{"path": "web.manifest"}],
            "deploymentConfig": {"settle": {"duration": 0, "unit": "seconds"}},
            "strategies": {"gentle": {"canary": {"steps": steps}}},
            "analysis": {
                "queries": [
                    {"name": name, "metricProviderName": name, "queryTemplate": "SELECT a", "upperLimit": 1} for name in providers
                ]
            },
            "webhooks": [{"name": name, "uriTemplate": url, **hook} for name, url in urls.items()],
        }
    )


def analysis(*queries: str) -> Document:
    return {"analysis": {"interval": 1, "units": "seconds", "numberOfJudgmentRuns": 1, "queries": list(queries)}}
