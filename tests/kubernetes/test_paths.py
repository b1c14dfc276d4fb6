"""Where objects are, and what cannot be an object's name."""

from __future__ import annotations

import pytest

from adapters.kubernetes.errors import Invalid
from adapters.kubernetes.paths import DEPLOYMENTS, SERVICES, ResourceRef

CLASSES = ResourceRef("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False)


def test_paths_follow_the_group_and_the_scope() -> None:
    assert DEPLOYMENTS.item("shop", "web") == "/apis/apps/v1/namespaces/shop/deployments/web"
    assert SERVICES.collection("shop") == "/api/v1/namespaces/shop/services"
    assert SERVICES.collection(None) == "/api/v1/services"
    assert CLASSES.item("shop", "nginx") == "/apis/networking.k8s.io/v1/ingressclasses/nginx"
    assert (DEPLOYMENTS.api_version, SERVICES.api_version) == ("apps/v1", "v1")
    assert (DEPLOYMENTS.full_name, SERVICES.full_name) == ("deployments.apps", "services")


def test_unusual_letters_are_quoted() -> None:
    assert CLASSES.item(None, "system:a b?c#d") == "/apis/networking.k8s.io/v1/ingressclasses/system%3Aa%20b%3Fc%23d"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../..", "%2e%2e"])
def test_a_name_that_would_lead_to_other_objects_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match=r"deployments.apps: .* cannot be the name of an object"):
        DEPLOYMENTS.item("shop", name)
    if name:
        with pytest.raises(Invalid):
            DEPLOYMENTS.collection(name)
