"""What stands in a namespace at one moment, and where requests go by it.

Requests are followed as proxies follow them: from the objects that divide them (`readings`) to Services, by these Services'
selectors and the labels of subsets to pods. Nothing of Headgate is used, so that its own reading is judged by another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
NEW = "web:2"


@dataclass(frozen=True, slots=True)
class Way:
    """One backend of a place where requests are divided."""

    service: str
    weight: Fraction = Fraction(1)
    subset: Mapping[str, str] | None = field(default_factory=dict)
    """Labels beside the Service's own; None for a subset that nobody has defined."""


Ways: TypeAlias = list[Way]


@dataclass(frozen=True, slots=True)
class View:
    objects: Mapping[tuple[str, str], JsonObject]
    """By kind and name."""

    def find(self, kind: str, name: str) -> JsonObject | None:
        return self.objects.get((kind, name))

    def of_kind(self, kind: str) -> Iterator[JsonObject]:
        return (one for (found, _), one in sorted(self.objects.items()) if found == kind)

    def pods(self, way: Way) -> list[JsonObject]:
        """The ready pods behind a backend."""
        service = self.find("Service", way.service)
        if service is None or way.subset is None:
            return []
        wanted = {**(service["spec"].get("selector") or {}), **way.subset}.items()
        alive = (pod for pod in self.of_kind("Pod") if not pod["metadata"].get("deletionTimestamp"))
        return [pod for pod in alive if wanted <= (pod["metadata"].get("labels") or {}).items() and _is_ready(pod)]

    def share(self, ways: Ways, image: str = NEW) -> Fraction:
        """Of all requests, what pods of this image get. Raises `AssertionError` where some meet nobody."""
        total = sum(way.weight for way in ways)
        assert total > 0, f"{ways} divide nothing"
        share = Fraction(0)
        for way in ways:
            pods = self.pods(way) if way.weight else []
            assert pods or not way.weight, f"{way.service} gets {way.weight} of {total} and has no ready pod behind {way.subset}"
            if pods:
                images = [pod["spec"]["containers"][0]["image"] for pod in pods]
                share += way.weight / total * Fraction(images.count(image), len(images))
        return share


def _is_ready(pod: JsonObject) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def letters(body: JsonObject) -> JsonObject:
    """An object byte for byte, but for what every write counts, who wrote what, and what its controller says of it."""
    left_out = ("managedFields", "resourceVersion", "generation")
    metadata = {key: value for key, value in body["metadata"].items() if key not in left_out}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}
