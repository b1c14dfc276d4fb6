"""The questions about access that clients ask."""

from __future__ import annotations

from adapters.embedded.access import USER, Access, Wish
from adapters.embedded.json_objects import JsonObject, value_at

_USER: JsonObject = {"username": USER, "groups": ["system:masters", "system:authenticated"]}
_ACCESS_REVIEWS = ("selfsubjectaccessreviews", "subjectaccessreviews", "localsubjectaccessreviews")


def answer_review(plural: str, review: JsonObject, access: Access) -> JsonObject | None:
    """The review with its status, None for a kind of review that is not known."""
    status: JsonObject
    if plural in _ACCESS_REVIEWS:
        status = {"allowed": access.allows(_wish(value_at(review, "spec", "resourceAttributes") or {}))}
    elif plural == "selfsubjectrulesreviews":
        status = {
            "resourceRules": access.rules_in(value_at(review, "spec", "namespace") or ""),
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    elif plural == "selfsubjectreviews":
        status = {"userInfo": _USER}
    elif plural == "tokenreviews":
        status = {"authenticated": bool(value_at(review, "spec", "token")), "user": _USER}
    else:
        return None
    return {"metadata": {}, **review, "status": status}


def _wish(attributes: JsonObject) -> Wish:
    """An empty part of a question means all of it, and only a rule for all allows that."""
    subresource = attributes.get("subresource", "")
    resource = attributes.get("resource", "")
    return Wish(
        attributes.get("verb", ""),
        attributes.get("group", ""),
        f"{resource}/{subresource}" if subresource else resource,
        attributes.get("namespace", ""),
        attributes.get("name", ""),
    )
