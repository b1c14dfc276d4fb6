"""Who may do what: everybody everything, until a test restricts the one user that there is to the rules of some roles.

The rules mean what they mean to RBAC: they only ever allow, names do not tie `create`, `list` and `watch` down, and a Role counts
in its own namespace, a ClusterRole in all of them and for kinds that have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adapters.embedded.errors import Forbidden
from adapters.embedded.json_objects import JsonObject, metadata_of
from adapters.embedded.routes import Target

USER = "embedded-admin"
_EVERYTHING: JsonObject = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


@dataclass(frozen=True, slots=True)
class Wish:
    verb: str
    group: str
    resource: str
    """With its subresource, as in `deployments/scale`."""
    namespace: str
    name: str


class Access:
    def __init__(self) -> None:
        self._rules: dict[str, list[JsonObject]] = {"": [_EVERYTHING]}
        self.answers_reviews = True
        """Whether the user may ask what it may do; clusters take even this away."""

    def restrict(self, roles: Iterable[JsonObject]) -> None:
        """From now on only what these Roles and ClusterRoles allow, as if each were bound to the user."""
        self._rules = {}
        for role in roles:
            self._rules.setdefault(metadata_of(role).get("namespace", ""), []).extend(role["rules"] or ())

    def rules_in(self, namespace: str) -> list[JsonObject]:
        """All that count there."""
        return self._rules.get("", []) + (self._rules.get(namespace, []) if namespace else [])

    def allows(self, wish: Wish) -> bool:
        return any(_fits(rule, wish) for rule in self.rules_in(wish.namespace))

    def check(self, target: Target) -> None:
        """Raises `Forbidden`."""
        resource = target.resource
        plural = f"{resource.plural}/{target.subresource}" if target.subresource else resource.plural
        wish = Wish(target.verb.value, resource.group, plural, target.namespace, target.name)
        if not self.allows(wish):
            raise _forbidden(target, wish)


def _fits(rule: JsonObject, wish: Wish) -> bool:
    wanted = {"verbs": wish.verb, "apiGroups": wish.group, "resources": wish.resource}
    if not all({"*", value} & set(rule.get(part, ())) for part, value in wanted.items()):
        return False
    return not rule.get("resourceNames") or wish.name in rule["resourceNames"]


def _forbidden(target: Target, wish: Wish) -> Forbidden:
    resource = target.resource
    what = f'{resource.qualified_name} "{wish.name}"' if wish.name else resource.qualified_name
    where = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
    asked = f'cannot {wish.verb} resource "{wish.resource}" in API group "{wish.group}" {where}'
    details = {"name": wish.name, "group": resource.group, "kind": resource.plural}
    told = {key: value for key, value in details.items() if value}
    return Forbidden(f'{what} is forbidden: User "{USER}" {asked}', details=told)
