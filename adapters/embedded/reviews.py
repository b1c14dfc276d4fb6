"""The questions about access that clients ask: everybody may do everything here."""

from __future__ import annotations

from adapters.embedded.json_objects import JsonObject, value_at

_USER: JsonObject = {"username": "embedded-admin", "groups": ["system:masters", "system:authenticated"]}


def answer_review(plural: str, review: JsonObject) -> JsonObject | None:
    """The review with its status, None for a kind of review that is not known."""
    allowed: JsonObject = {"allowed": True, "reason": "the embedded cluster allows everything"}
    every: JsonObject = {"verbs": ["*"]}
    statuses: dict[str, JsonObject] = {
        "selfsubjectaccessreviews": allowed,
        "subjectaccessreviews": allowed,
        "localsubjectaccessreviews": allowed,
        "selfsubjectrulesreviews": {
            "resourceRules": [{**every, "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{**every, "nonResourceURLs": ["*"]}],
            "incomplete": False,
        },
        "selfsubjectreviews": {"userInfo": _USER},
        "tokenreviews": {"authenticated": bool(value_at(review, "spec", "token")), "user": _USER},
    }
    status = statuses.get(plural)
    return None if status is None else {"metadata": {}, **review, "status": status}
