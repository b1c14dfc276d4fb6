"""The mistakes that the documentation of CD-as-a-Service taught its users: read as they were meant, with a warning.

The tree is put right in place before it is validated, so that nothing later has to know of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from strategies.places import Place
from strategies.yaml_document import Entry, MappingNode, Mark, ScalarNode, SequenceNode

Warn = Callable[[Mark, str], None]


def put_right(root: Place, warn: Warn) -> None:
    """Rewrite known mistakes to the form that the models take."""
    for name in ("timeout", "settle"):
        _rename(root.at("deploymentConfig", name), "units", "unit", warn)
    for webhook in root.items("webhooks"):
        _rename(webhook.get("timeout"), "units", "unit", warn)
    _drop(root, "metadata", "it means nothing in a deploy file", warn)
    _put_context_right(root, warn)
    _put_traffic_right(root, warn)
    for query in root.items("analysis", "queries"):
        _drop(query, "aggregationMethod", "the mean of all runs is what is judged", warn)
    for _, target in root.entries("targets"):
        for moment in ("beforeDeployment", "afterDeployment"):
            _put_steps_right(target.items("constraints", moment), warn)
    for _, strategy in root.entries("strategies"):
        _put_steps_right(strategy.items("canary", "steps"), warn)
        blue_green = strategy.get("blueGreen")
        _rename(blue_green, "shutdownOldVersionAfter", "shutDownOldVersionAfter", warn)
        for moment in ("redirectTrafficAfter", "shutDownOldVersionAfter"):
            _put_steps_right(strategy.items("blueGreen", moment), warn)


def _put_steps_right(steps: Iterable[Place], warn: Warn) -> None:
    for step in steps:
        _put_step_right(step, warn)


def _put_step_right(step: Place, warn: Warn) -> None:
    _wrap_weight(step, warn)
    if (pause := step.get("pause")) is not None:
        _rename(pause, "units", "unit", warn)
        _rename(pause, "approvalDuration", "approvalExpiration", warn)
        _rename(pause.get("approvalExpiration"), "units", "unit", warn)
        _lift_roles(pause, warn)
        _drop_empty_roles(pause, warn)
    if (analysis := step.get("analysis")) is not None:
        _rename(analysis, "unit", "units", warn)
        _put_context_right(analysis, warn)
    for called in ("runWebhook", "runJob", "runCommand"):
        if (place := step.get(called)) is not None:
            _put_context_right(place, warn)
    _rename(step.at("exposeServices", "ttl"), "units", "unit", warn)
    for match in step.items("setHeaderRoute", "match"):
        for name in ("header", "cookie"):
            _list_one(match, name)


def _list_one(owner: Place, name: str) -> None:
    """One may stand without a list around it; no mistake, so nothing is said."""
    found = owner.get(name)
    if found is not None and isinstance(found.node, MappingNode) and isinstance(owner.node, MappingNode):
        listed = SequenceNode(found.mark, [found.node], size=found.node.size + 1)
        owner.node.entries[name] = Entry(found.key_mark, listed)


def _rename(owner: Place | None, wrong: str, right: str, warn: Warn) -> None:
    if owner is None or not isinstance(owner.node, MappingNode) or wrong not in owner.node.entries:
        return
    if right in owner.node.entries:
        return  # Both stand there: which one is meant cannot be told, so the wrong one is reported as unknown.
    owner.node.entries = {right if key == wrong else key: entry for key, entry in owner.node.entries.items()}
    warn(
        owner.node.entries[right].key_mark,
        f'"{wrong}" is read as "{right}"; the field of {owner.label} is called "{right}"',
    )


def _drop(owner: Place, name: str, why: str, warn: Warn) -> None:
    if isinstance(owner.node, MappingNode) and name in owner.node.entries:
        entry = owner.node.entries.pop(name)
        warn(entry.key_mark, f'"{name}" is ignored, {why}; remove it')


def _put_traffic_right(root: Place, warn: Warn) -> None:
    """The first clients took one block where later ones took a list of them."""
    for entry in root.items("trafficManagement"):
        for kind in ("smi", "istio", "kubernetes"):
            block = entry.get(kind)
            if block is None or not isinstance(block.node, MappingNode) or not isinstance(entry.node, MappingNode):
                continue
            wrapped = SequenceNode(block.mark, [block.node], size=block.node.size + 1)
            entry.node.entries[kind] = Entry(block.key_mark, wrapped)
            warn(block.key_mark, f'"{kind}" is read as a list of one; write "- " in front of its first field')


def _wrap_weight(step: Place, warn: Warn) -> None:
    weight = step.get("setWeight")
    if weight is None or not isinstance(weight.node, ScalarNode) or not isinstance(step.node, MappingNode):
        return
    wrapped = MappingNode(weight.mark, {"weight": Entry(weight.mark, weight.node)}, size=2)
    step.node.entries["setWeight"] = Entry(weight.key_mark, wrapped)
    warn(
        weight.mark,
        f'"setWeight: {weight.node.text}" is read as "setWeight: {{weight: {weight.node.text}}}"; write it so',
    )


def _lift_roles(pause: Place, warn: Warn) -> None:
    expiration = pause.get("approvalExpiration")
    if expiration is None or not isinstance(expiration.node, MappingNode) or not isinstance(pause.node, MappingNode):
        return
    if "requiresRoles" not in expiration.node.entries or "requiresRoles" in pause.node.entries:
        return
    entry = expiration.node.entries.pop("requiresRoles")
    pause.node.entries["requiresRoles"] = entry
    warn(entry.key_mark, '"requiresRoles" is read as a field of pause; write it beside "approvalExpiration", not in it')


def _drop_empty_roles(pause: Place, warn: Warn) -> None:
    roles = pause.get("requiresRoles")
    if (
        roles is None
        or not isinstance(roles.node, SequenceNode)
        or roles.node.items
        or not isinstance(pause.node, MappingNode)
    ):
        return
    del pause.node.entries["requiresRoles"]
    warn(
        roles.key_mark, '"requiresRoles: []" is read as "anybody with access may answer"; name a role or remove the key'
    )


def _put_context_right(owner: Place, warn: Warn) -> None:
    """The reference of context variables wrote them as a list of one-entry mappings."""
    context = owner.get("context")
    if context is None or not isinstance(context.node, SequenceNode) or not isinstance(owner.node, MappingNode):
        return
    if not context.node.items or not all(isinstance(item, MappingNode) for item in context.node.items):
        return
    merged = MappingNode(context.mark, size=context.node.size)
    for item in context.node.items:
        if isinstance(item, MappingNode):
            merged.entries.update(item.entries)
    owner.node.entries["context"] = Entry(context.key_mark, merged)
    warn(context.key_mark, '"context" is read as one mapping; write "name: value" lines without "- " in front')
