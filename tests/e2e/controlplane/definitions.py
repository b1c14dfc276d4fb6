"""The definitions of other projects' kinds, taken from their own Go modules when the tests run; none is kept here.

Linkerd publishes no module that the Go proxy offers, and a control plane that knows ServiceProfiles and has nobody who writes
them takes up no split at all: what Linkerd does is told on the embedded cluster (`tests/rollouts/test_linkerd.py`).
"""

from __future__ import annotations

import errno
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
    files: tuple[str, ...]
    """Patterns inside of the module."""


SMI = Source("github.com/servicemeshinterface/smi-sdk-go@v0.5.0", ("crds/split.yaml", "crds/specs.yaml"))
ISTIO = Source("istio.io/api@v1.31.4", ("kubernetes/customresourcedefinitions.gen.yaml",))
GATEWAY_API = Source("sigs.k8s.io/gateway-api@v1.6.3", ("config/crd/standard/gateway.networking.k8s.io_*.yaml",))
SOURCES = (SMI, ISTIO, GATEWAY_API)


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
    folder = cache_folder() / "definitions" / source.module.replace("/", "_")
    if not folder.is_dir():
        module = _download(source.module)
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


def _download(module: str) -> Path:
    go = shutil.which("go")
    if go is None:
        raise BinariesMissing(f"{module} is not in the cache, and there is no Go to fetch it: https://go.dev/dl")
    answer = subprocess.run([go, "mod", "download", "-json", module], capture_output=True, check=False, cwd="/", text=True)
    told = json.loads(answer.stdout)
    if "Dir" not in told:
        raise BinariesMissing(f"{module} cannot be fetched: {told.get('Error', answer.stderr)}")
    return Path(told["Dir"])
