"""The definitions of other projects' kinds, taken from their own Go modules when the tests run; none is kept here.

Each comes as `go mod download` takes it, is compared with the digest that stands here, and is kept beside the built programs.
Linkerd publishes no module that the Go proxy offers, so ServiceProfile has our own definition only
(`adapters.embedded.linkerd_definitions`). And a control plane that knows ServiceProfiles and has nobody who writes them takes up
no split at all: what Linkerd does is told on the embedded cluster (`tests/rollouts/test_linkerd.py`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from adapters.embedded.json_objects import JsonObject
from tests.e2e.controlplane.binaries import BinariesMissing, cache_folder


@dataclass(frozen=True, slots=True)
class Source:
    module: str
    """With its version: what the Go proxy is asked for."""
    digest: str
    """Of the module's content, as a go.sum writes it. What comes with another one is not used."""
    files: tuple[str, ...]
    """Patterns inside of the module."""


_GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.3", "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc="
_TRAEFIK_DOCS = "docs/content/reference/dynamic-configuration"
SMI = Source(
    "github.com/servicemeshinterface/smi-sdk-go@v0.5.0",
    "h1:9cZdhvGbGDlmnp9qqmcQL+RL6KZ3IzHfDLoA5Axg8n0=",
    ("crds/split.yaml", "crds/specs.yaml"),
)
ISTIO = Source(
    "istio.io/api@v1.32.0",
    "h1:37mJvg9I0biYZAEQF+MATs4FNeCpXEIVO3LFpVb6iNM=",
    ("kubernetes/customresourcedefinitions.gen.yaml",),
)
TRAEFIK = Source(
    "github.com/traefik/traefik/v3@v3.7.13",
    "h1:T8wy9KuaFzCkmXCqAzDy7t73pBDR1DHrJe3pqXpNXTw=",
    (f"{_TRAEFIK_DOCS}/traefik.io_*.yaml",),
)
OLD_TRAEFIK = Source(
    "github.com/traefik/traefik/v2@v2.11.0",
    "h1:Uq5fiVpcFCbAmwn/EDYmG4RoKmfw6leVPRKtW6zPF54=",
    (f"{_TRAEFIK_DOCS}/traefik.containo.us_traefikservices.yaml",),
)
"""The group that Traefik 3 has given up."""
GATEWAY_API = Source(*_GATEWAY_API, ("config/crd/standard/gateway.networking.k8s.io_*.yaml",))
EXPERIMENTAL_GATEWAY_API = Source(*_GATEWAY_API, ("config/crd/experimental/gateway.networking.*.yaml",))
"""Of the same names as the standard ones, with more fields and kinds: a cluster has one channel or the other."""
SOURCES = (SMI, ISTIO, TRAEFIK, OLD_TRAEFIK, GATEWAY_API)


def load_definitions(source: Source) -> list[JsonObject]:
    """The CustomResourceDefinitions of a module. Raises `BinariesMissing` if it is not in the cache and there is no Go."""
    documents: list[JsonObject] = []
    for path in _fetch(source):
        documents += [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one]
    return [_modern(one) for one in documents if one["kind"] == "CustomResourceDefinition"]


def _modern(definition: JsonObject) -> JsonObject:
    """SMI's definitions were written for apiextensions.k8s.io/v1beta1, which no API server serves any more: one schema for all
    versions, types left out. What they say is kept; all their versions are served, as meshes do that still have older objects."""
    if definition["apiVersion"] == "apiextensions.k8s.io/v1":
        return definition
    spec = dict(definition["spec"])
    schema = _typed(spec.pop("validation", {}).get("openAPIV3Schema", {}))
    columns = [{**one, "jsonPath": one["JSONPath"]} for one in spec.pop("additionalPrinterColumns", [])]
    for column in columns:
        del column["JSONPath"]
    spec.pop("version", None)
    spec["versions"] = [
        {**one, "served": True, "schema": {"openAPIV3Schema": schema}, "additionalPrinterColumns": columns}
        for one in spec["versions"]
    ]
    return {**definition, "apiVersion": "apiextensions.k8s.io/v1", "spec": spec}


def _typed(schema: JsonObject) -> JsonObject:
    """With the types that a structural schema has to have."""
    typed = dict(schema)
    if "properties" in typed:
        typed["properties"] = {name: _typed(one) for name, one in typed["properties"].items()}
    if "items" in typed:
        typed["items"] = _typed(typed["items"])
    typed.setdefault("type", "array" if "items" in typed else "object")
    return typed


def _fetch(source: Source) -> list[Path]:
    chosen = hashlib.sha256(repr(source).encode()).hexdigest()[:8]
    folder = cache_folder() / "definitions" / f"{source.module.replace('/', '_')}-{chosen}"
    if not folder.is_dir():
        module = _download(source)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A folder of its own until it is whole: the tests' other processes may be fetching the same.
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder.parent) as unfinished:
            whole = Path(unfinished, folder.name)
            whole.mkdir()
            for pattern in source.files:
                for path in sorted(module.glob(pattern)):
                    shutil.copyfile(path, whole / path.name)
            try:
                whole.rename(folder)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
    return sorted(folder.iterdir())


def _download(source: Source) -> Path:
    go = shutil.which("go")
    if go is None:
        raise BinariesMissing(f"{source.module} is not in the cache, and there is no Go to fetch it: https://go.dev/dl")
    command = [go, "mod", "download", "-json", source.module]
    answer = subprocess.run(command, capture_output=True, check=False, cwd="/", text=True)
    told: JsonObject = json.loads(answer.stdout or "{}")
    if "Dir" not in told:
        raise BinariesMissing(f"{source.module} cannot be fetched: {told.get('Error', answer.stderr)}")
    if told.get("Sum") != source.digest:
        raise BinariesMissing(f"{source.module} has come as {told.get('Sum')}, and not as {source.digest}: it is not used")
    return Path(told["Dir"])
