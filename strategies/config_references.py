"""Where a pod template refers to ConfigMaps and Secrets: environment, volumes, projected volumes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]

CONFIG_MAP, SECRET = "ConfigMap", "Secret"
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_FROM_ENVIRONMENT = (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET))
_ALL_OF_IT = (("configMapRef", CONFIG_MAP), ("secretRef", SECRET))
_VOLUMES = (("configMap", CONFIG_MAP, "name"), ("secret", SECRET, "secretName"))
_PROJECTED = (("configMap", CONFIG_MAP), ("secret", SECRET))


@dataclass(slots=True)
class Reference:
    kind: str
    _place: JsonObject
    _field: str

    @property
    def name(self) -> str:
        return str(self._place[self._field])

    def point_to(self, name: str) -> None:
        """Change the template that this was found in."""
        self._place[self._field] = name


def references_of(template: JsonObject) -> Iterator[Reference]:
    """All of them, in a template that somebody may have written wrongly: what is not of the right shape refers to nothing."""
    spec = _mapping(_mapping(template).get("spec"))
    for field in _CONTAINERS:
        for container in _mappings(spec.get(field)):
            yield from _of_container(container)
    for volume in _mappings(spec.get("volumes")):
        for field, kind, name in _VOLUMES:
            yield from _refer(kind, volume.get(field), name)
        for source in _mappings(_mapping(volume.get("projected")).get("sources")):
            for field, kind in _PROJECTED:
                yield from _refer(kind, source.get(field), "name")


def _of_container(container: JsonObject) -> Iterator[Reference]:
    for variable in _mappings(container.get("env")):
        for field, kind in _FROM_ENVIRONMENT:
            yield from _refer(kind, _mapping(variable.get("valueFrom")).get(field), "name")
    for source in _mappings(container.get("envFrom")):
        for field, kind in _ALL_OF_IT:
            yield from _refer(kind, source.get(field), "name")


def _refer(kind: str, place: object, field: str) -> Iterator[Reference]:
    if isinstance(place, dict) and isinstance(place.get(field), str):
        yield Reference(kind, place, field)


def _mapping(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[JsonObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
