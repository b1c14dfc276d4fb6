"""Objects that are refused because of what they are, or of what must not change: the fields, the reasons and the words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.builders import definition
from tests.conformance.asking import (
    JOBS,
    SPLITS,
    STATEFUL_SETS,
    Api,
    Patch,
    autoscaler,
    changed,
    config_map,
    refusal,
    stateful_set,
    traffic_split,
)
from tests.conformance.stand import (
    AUTOSCALERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    REPLICA_SETS,
    SERVICES,
    deployment,
    replace,
    replica_set,
    rolling,
    service,
)

BODIES: dict[str, JsonObject] = {
    DEPLOYMENTS: deployment(),
    REPLICA_SETS: replica_set(),
    STATEFUL_SETS: stateful_set(),
    SERVICES: service(),
    CONFIG_MAPS: config_map(),
    AUTOSCALERS: autoscaler(),
    JOBS: {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "web:1"}]}}},
    },
}
POD = ("spec", "template", "spec")
APP = (*POD, "containers", 0)
IN_CONTAINERS = "spec.template.spec.containers"
IN_APP = f"{IN_CONTAINERS}[0]"

INVALID, REQUIRED, UNSUPPORTED = "FieldValueInvalid", "FieldValueRequired", "FieldValueNotSupported"
FORBIDDEN, DUPLICATE, NOT_FOUND = "FieldValueForbidden", "FieldValueDuplicate", "FieldValueNotFound"

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
NAME_PART = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
CONFIG_KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
PORT_NUMBER = "must be between 1 and 65535, inclusive"
QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
REPLICAS = "Go struct field DeploymentSpec.spec.replicas"
OUTSIDE = "the provided network does not match the current range"
MISMATCH = "`selector` does not match template `labels`"


def invalid(field: str, value: object, rule: str) -> tuple[str, str, str]:
    return field, INVALID, f"Invalid value: {json.dumps(value, separators=(',', ':'), ensure_ascii=False)}: {rule}"


def required(field: str, more: str = "") -> tuple[str, str, str]:
    return field, REQUIRED, "Required value" + (f": {more}" if more else "")


def unsupported(field: str, value: str, *choices: str) -> tuple[str, str, str]:
    told = ", ".join(f'"{one}"' for one in choices)
    return field, UNSUPPORTED, f'Unsupported value: "{value}": supported values: {told}'


def forbidden(field: str, why: str) -> tuple[str, str, str]:
    return field, FORBIDDEN, f"Forbidden: {why}"


async def check_refused(api: Api, resource: str, body: JsonObject, *causes: tuple[str, str, str]) -> None:
    answer = await api.create(resource, body)
    assert answer.status == 422, answer.body
    assert answer.causes == list(causes)
    told = [f"{field}: {message}" for field, _, message in causes]
    version, _, _ = body["apiVersion"].rpartition("/")
    kind, name = body["kind"] + (f".{version}" if version else ""), body["metadata"].get("name", "")
    assert answer.message == f'{kind} "{name}" is invalid: ' + (told[0] if len(told) == 1 else f"[{', '.join(told)}]")
    assert {**answer.body["details"], "causes": []} == {
        **({"name": name} if name else {}),
        **({"group": version} if version else {}),
        "kind": body["kind"],
        "causes": [],
    }


CASES: list[tuple[str, tuple[str | int, ...], Any, list[tuple[str, str, str]]]] = [
    # names
    (DEPLOYMENTS, ("metadata", "name"), "Web_1", [invalid("metadata.name", "Web_1", SUBDOMAIN)]),
    (
        CONFIG_MAPS,
        ("metadata", "name"),
        "a" * 254,
        [invalid("metadata.name", "a" * 254, "must be no more than 253 characters")],
    ),
    (CONFIG_MAPS, ("metadata", "name"), None, [required("metadata.name", "name or generateName is required")]),
    (SERVICES, ("metadata", "name"), "web.app", [invalid("metadata.name", "web.app", "must not contain dots")]),
    (SERVICES, ("metadata", "name"), "Web", [invalid("metadata.name", "Web", LABEL)]),
    # labels and annotations
    (
        DEPLOYMENTS,
        ("metadata", "labels"),
        {"a b": "c d"},
        [invalid("metadata.labels", "a b", NAME_PART), invalid("metadata.labels", "c d", LABEL_VALUE)],
    ),
    (DEPLOYMENTS, ("metadata", "labels"), {"UP/a": ""}, [invalid("metadata.labels", "UP/a", f"prefix part {SUBDOMAIN}")]),
    (
        DEPLOYMENTS,
        ("metadata", "labels"),
        {"a": "x" * 64},
        [invalid("metadata.labels", "x" * 64, "must be no more than 63 bytes")],
    ),
    (DEPLOYMENTS, ("metadata", "annotations"), {"A B": ""}, [invalid("metadata.annotations", "A B", NAME_PART)]),
    (
        CONFIG_MAPS,
        ("metadata", "annotations"),
        {"a": "x" * 262144},
        [("metadata.annotations", "FieldValueTooLong", "Too long: may not be more than 262144 bytes")],
    ),
    (CONFIG_MAPS, ("data",), {"a/b": "c"}, [invalid("data[a/b]", "a/b", CONFIG_KEY)]),
    # selectors and templates
    (
        DEPLOYMENTS,
        ("spec", "selector"),
        None,
        [required("spec.selector"), invalid("spec.template.metadata.labels", {"app": "web"}, MISMATCH)],
    ),
    (DEPLOYMENTS, ("spec", "selector"), {}, [invalid("spec.selector", {}, "empty selector is invalid for deployment")]),
    (STATEFUL_SETS, ("spec", "selector"), {}, [invalid("spec.selector", {}, "empty selector is invalid for statefulset")]),
    (
        REPLICA_SETS,
        ("spec", "selector"),
        {"matchLabels": {"app": "other"}},
        [invalid("spec.template.metadata.labels", {"app": "web", "pod-template-hash": "bare"}, MISMATCH)],
    ),
    (
        DEPLOYMENTS,
        ("spec", "selector"),
        {"matchExpressions": [{"key": "app", "operator": "In"}]},
        [
            required("spec.selector.matchExpressions[0].values", "must be specified when `operator` is 'In' or 'NotIn'"),
            invalid(
                "spec.selector", {"matchExpressions": [{"key": "app", "operator": "In"}]}, "invalid label selector"
            ),
        ],
    ),
    (DEPLOYMENTS, (*POD, "containers"), [], [required("spec.template.spec.containers")]),
    # numbers
    (DEPLOYMENTS, ("spec", "replicas"), -1, [invalid("spec.replicas", -1, "must be greater than or equal to 0")]),
    (REPLICA_SETS, ("spec", "replicas"), -2, [invalid("spec.replicas", -2, "must be greater than or equal to 0")]),
    (
        DEPLOYMENTS,
        ("spec", "progressDeadlineSeconds"),
        0,
        [invalid("spec.progressDeadlineSeconds", 0, "must be greater than minReadySeconds")],
    ),
    # strategies
    (
        DEPLOYMENTS,
        ("spec", "strategy"),
        rolling(0, 0),
        [invalid("spec.strategy.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0")],
    ),
    (
        DEPLOYMENTS,
        ("spec", "strategy"),
        rolling(1, "150%"),
        [invalid("spec.strategy.rollingUpdate.maxUnavailable", "150%", "must not be greater than 100%")],
    ),
    (
        DEPLOYMENTS,
        ("spec", "strategy"),
        {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}},
        [forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")],
    ),
    # containers
    (DEPLOYMENTS, (*APP, "name"), None, [required(f"{IN_APP}.name")]),
    (DEPLOYMENTS, (*APP, "name"), "A b", [invalid(f"{IN_APP}.name", "A b", LABEL)]),
    (DEPLOYMENTS, (*APP, "image"), None, [required(f"{IN_APP}.image")]),
    (
        DEPLOYMENTS,
        (*APP, "imagePullPolicy"),
        "Sometimes",
        [unsupported(f"{IN_APP}.imagePullPolicy", "Sometimes", "Always", "IfNotPresent", "Never")],
    ),
    (DEPLOYMENTS, (*APP, "ports"), [{"containerPort": 0}], [required(f"{IN_APP}.ports[0].containerPort")]),
    (
        DEPLOYMENTS,
        (*APP, "ports"),
        [{"containerPort": 70000}],
        [invalid(f"{IN_APP}.ports[0].containerPort", 70000, PORT_NUMBER)],
    ),
    (
        DEPLOYMENTS,
        (*APP, "ports"),
        [{"containerPort": 80, "name": "a-port-of-the-app"}, {"containerPort": 81, "protocol": "HTTP"}],
        [
            invalid(f"{IN_APP}.ports[0].name", "a-port-of-the-app", "must be no more than 15 characters"),
            unsupported(f"{IN_APP}.ports[1].protocol", "HTTP", "SCTP", "TCP", "UDP"),
        ],
    ),
    (
        DEPLOYMENTS,
        (*APP, "ports"),
        [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}],
        [(f"{IN_APP}.ports[1].name", DUPLICATE, 'Duplicate value: "a"')],
    ),
    (
        DEPLOYMENTS,
        (*APP, "env"),
        [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        [invalid(f"{IN_APP}.env[0].valueFrom", "", "may not be specified when `value` is not empty")],
    ),
    (
        DEPLOYMENTS,
        (*APP, "resources"),
        {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
        [invalid(f"{IN_APP}.resources.requests", "2", "must be less than or equal to cpu limit of 1")],
    ),
    (
        DEPLOYMENTS,
        (*APP, "readinessProbe"),
        {"periodSeconds": 5},
        [required(f"{IN_APP}.readinessProbe", "must specify a handler type")],
    ),
    (
        DEPLOYMENTS,
        (*APP, "livenessProbe"),
        {"httpGet": {"port": 80}, "successThreshold": 2},
        [invalid(f"{IN_APP}.livenessProbe.successThreshold", 2, "must be 1")],
    ),
    (
        DEPLOYMENTS,
        (*APP, "volumeMounts"),
        [{"name": "data", "mountPath": "/data"}],
        [(f"{IN_APP}.volumeMounts[0].name", NOT_FOUND, 'Not found: "data"')],
    ),
    (
        DEPLOYMENTS,
        (*POD, "restartPolicy"),
        "Never",
        [unsupported("spec.template.spec.restartPolicy", "Never", "Always")],
    ),
    # Services
    (SERVICES, ("spec", "ports"), [], [required("spec.ports")]),
    (SERVICES, ("spec", "ports"), [{"port": 80}, {"port": 81}], [required(f"spec.ports[{n}].name") for n in (0, 1)]),
    (SERVICES, ("spec", "ports", 0, "port"), 0, [invalid("spec.ports[0].port", 0, PORT_NUMBER)]),
    (
        SERVICES,
        ("spec", "ports", 0, "targetPort"),
        "a_b",
        [invalid("spec.ports[0].targetPort", "a_b", "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")],
    ),
    (
        SERVICES,
        ("spec", "type"),
        "Internal",
        [unsupported("spec.type", "Internal", "ClusterIP", "ExternalName", "LoadBalancer", "NodePort")],
    ),
    (
        SERVICES,
        ("spec", "clusterIP"),
        "10.1.1.1",
        [
            invalid(
                "spec.clusterIPs",
                ["10.1.1.1"],
                f"failed to allocate IP 10.1.1.1: {OUTSIDE}",
            )
        ],
    ),
    # autoscalers and Jobs
    (AUTOSCALERS, ("spec", "maxReplicas"), 0, [
        required("spec.maxReplicas", "must be set and greater than 0"),
        invalid("spec.maxReplicas", 0, "must be greater than or equal to `minReplicas`"),
    ]),
    (
        AUTOSCALERS,
        ("spec", "scaleTargetRef"),
        {"kind": "Deployment", "name": "web"},
        [invalid("spec.scaleTargetRef.apiVersion", "", "apiVersion must specify API group")],
    ),
    (
        JOBS,
        (*POD, "restartPolicy"),
        None,
        [required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')],
    ),
]


@pytest.mark.parametrize(("resource", "path", "value", "causes"), CASES, ids=str)
async def test_what_breaks_a_rule_of_its_kind_is_refused_field_by_field(
    api: Api, resource: str, path: tuple[str | int, ...], value: Any, causes: list[tuple[str, str, str]]
) -> None:
    await check_refused(api, resource, changed(BODIES[resource], value, *path), *causes)


async def test_everything_that_is_wrong_is_told_at_once(api: Api) -> None:
    body = changed(changed(deployment(), -1, "spec", "replicas"), None, *APP, "image")
    await check_refused(
        api,
        DEPLOYMENTS,
        changed(body, "X", "metadata", "name"),
        invalid("metadata.name", "X", SUBDOMAIN),
        invalid("spec.replicas", -1, "must be greater than or equal to 0"),
        required(f"{IN_APP}.image"),
    )


async def test_a_change_is_refused_for_the_same_reasons(api: Api) -> None:
    await api.create(STATEFUL_SETS, stateful_set())
    answer = await api.operate(STATEFUL_SETS, "web", replace("/spec/replicas", -1))
    assert answer.causes == [invalid("spec.replicas", -1, "must be greater than or equal to 0")]
    answer = await api.merge(STATEFUL_SETS, "web", {"metadata": {"labels": {"a": "b c"}}})
    assert answer.causes == [invalid("metadata.labels", "b c", LABEL_VALUE)]
    assert answer.message == f'StatefulSet.apps "web" is invalid: metadata.labels: {answer.causes[0][2]}', "told once"


# --- custom objects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        (("spec", "service"), None, ("spec.service", REQUIRED, "Required value")),
        (
            ("spec", "service"),
            1,
            (
                "spec.service",
                "FieldValueTypeInvalid",
                'Invalid value: "integer": spec.service in body must be of type string: "integer"',
            ),
        ),
        (("spec", "backends"), None, ("spec.backends", REQUIRED, "Required value")),
        (("spec", "backends", 1, "weight"), None, ("spec.backends[1].weight", REQUIRED, "Required value")),
        (
            ("spec", "backends", 0, "weight"),
            "10",
            (
                "spec.backends[0].weight",
                "FieldValueTypeInvalid",
                'Invalid value: "string": spec.backends[0].weight in body must be of type number: "string"',
            ),
        ),
        (
            ("spec", "matches"),
            [{"kind": "TCPRoute", "name": "beta"}],
            (
                "spec.matches[0].kind",
                "FieldValueNotSupported",
                'Unsupported value: "TCPRoute": supported values: "HTTPRouteGroup"',
            ),
        ),
    ],
    ids=str,
)
async def test_a_custom_object_obeys_its_schema(
    api: Api, path: tuple[str | int, ...], value: Any, cause: tuple[str, str, str]
) -> None:
    await api.offer_splits()
    await check_refused(api, SPLITS, changed(traffic_split(), value, *path), cause)


CRATES = "sea.example.com/v1/crates"


def crate_definition() -> JsonObject:
    """A kind with numbers of every size."""
    numbers: JsonObject = {name: {"type": "integer", "format": name} for name in ("int32", "int64", "uint32")}
    numbers |= {"whole": {"type": "integer"}, "few": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9}}
    numbers |= {name: {"type": "number", "format": name} for name in ("float", "double")} | {"number": {"type": "number"}}
    defined: JsonObject = definition("Crate")
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": numbers}}}
    defined["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": schema}
    return defined


def crate(**numbers: float) -> JsonObject:
    return {"apiVersion": "sea.example.com/v1", "kind": "Crate", "metadata": {"name": "web"}, "spec": numbers}


def beyond(told: str) -> tuple[str, str, str]:
    return ("<nil>", INVALID, f'Invalid value: "": Checked value must be of type {told}')


def misfit(field: str, found: str, wanted: str) -> tuple[str, str, str]:
    told = f'Invalid value: "{found}": spec.{field} in body must be of type {wanted}: "{found}"'
    return (f"spec.{field}", "FieldValueTypeInvalid", told)


@pytest.mark.parametrize(
    ("field", "value", "causes"),
    [
        ("int32", 2**31, [beyond("integer with format int32 in spec.int32")]),
        ("int32", -(2**31) - 1, [beyond("integer with format int32 in spec.int32")]),
        ("int32", 1.5, [misfit("int32", "float64", "int32"), beyond("integer with format int32 in spec.int32")]),
        ("int32", "1", [misfit("int32", "string", "integer")]),
        ("int32", True, [misfit("int32", "", "int32")]),
        ("uint32", 1.5, [misfit("uint32", "number", "integer"), beyond("integer (default format) in spec.uint32")]),
        ("int64", 10**19, [misfit("int64", "float64", "int64"), beyond("integer with format int64 in spec.int64")]),
        ("whole", 10**19, [misfit("whole", "number", "integer"), beyond("integer (default format) in spec.whole")]),
        ("whole", 1e17, [misfit("whole", "number", "integer")]),
        ("few", 0, [invalid("spec.few", 0, "spec.few in body should be greater than or equal to 1")]),
        ("few", 10, [invalid("spec.few", 10, "spec.few in body should be less than or equal to 9")]),
        ("float", 1e39, [beyond("number with format float in spec.float")]),
    ],
)
async def test_a_number_has_the_size_of_its_format(
    api: Api, field: str, value: float, causes: list[tuple[str, str, str]]
) -> None:
    await api.offer(crate_definition(), CRATES)
    await check_refused(api, CRATES, crate(**{field: value}), *causes)


async def test_the_largest_and_the_smallest_number_of_each_format_are_taken(api: Api) -> None:
    await api.offer(crate_definition(), CRATES)
    least: dict[str, float] = {"int32": -(2**31), "int64": -(2**63), "uint32": -1, "float": -1.5, "number": -1e300}
    most: dict[str, float] = {"int32": 2**31 - 1, "int64": 2**63 - 1, "uint32": 2**32, "double": 1e300}
    for numbers in (least, most):
        taken = await api.create(CRATES, crate(**numbers), dryRun="All")
        assert (taken.status, taken.object["spec"]) == (201, numbers), taken.body


# --- types -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("spec", "replicas"), "3", f"cannot unmarshal string into {REPLICAS} of type int32"),
        (("spec", "replicas"), 1.5, f"cannot unmarshal number 1.5 into {REPLICAS} of type int32"),
        (
            ("metadata", "labels"),
            {"a": 1},
            "cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            (*APP, "ports", 0, "containerPort"),
            "http",
            f"cannot unmarshal string into Go struct field ContainerPort.{IN_CONTAINERS}.ports.containerPort of type int32",
        ),
        (
            (*POD, "containers"),
            {},
            f"cannot unmarshal object into Go struct field PodSpec.{IN_CONTAINERS} of type []v1.Container",
        ),
    ],
    ids=str,
)
async def test_a_value_of_another_type_is_no_object_of_the_kind(
    api: Api, path: tuple[str | int, ...], value: Any, told: str
) -> None:
    answer = await api.create(DEPLOYMENTS, changed(deployment(), value, *path))
    message = f'Deployment in version "v1" cannot be handled as a Deployment: json: {told}'
    assert answer.body == refusal(400, "BadRequest", message)


async def test_an_amount_that_is_none_is_no_object_of_the_kind(api: Api) -> None:
    answer = await api.create(DEPLOYMENTS, changed(deployment(), {"limits": {"memory": "1Gb"}}, *APP, "resources"))
    assert answer.message == f'Deployment in version "v1" cannot be handled as a Deployment: {QUANTITY}'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("rubbish", "invalid character 'r' looking for beginning of value (72756262697368)"),
        ('{"kind":', 'unexpected end of JSON input ({"kind":)'),
        ("", "unexpected end of JSON input (<empty>)"),
    ],
)
async def test_a_body_that_is_no_json_is_shown(api: Api, body: str, told: str) -> None:
    answer = await api.send("POST", api.path(CONFIG_MAPS), body)
    message = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
    assert answer.body == refusal(400, "BadRequest", message + told)


# --- fields that nobody knows ----------------------------------------------------------------------------------------------

UNKNOWN: list[tuple[tuple[str | int, ...], str]] = [
    (("colour",), "colour"),
    (("spec", "colour"), "spec.colour"),
    ((*APP, "colour"), f"{IN_APP}.colour"),
    (("metadata", "colour"), "metadata.colour"),
]


@pytest.mark.parametrize(("path", "told"), UNKNOWN, ids=str)
async def test_unknown_fields_are_refused_warned_of_or_ignored(
    api: Api, path: tuple[str | int, ...], told: str
) -> None:
    body = changed(deployment(paused=True, replicas=0), "blue", *path)
    strict = await api.create(DEPLOYMENTS, body, fieldValidation="Strict", dryRun="All")
    message = f'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "{told}"'
    assert strict.body == refusal(400, "BadRequest", message)
    for query, warnings in (({"fieldValidation": "Warn"}, True), ({}, True), ({"fieldValidation": "Ignore"}, False)):
        taken = await api.create(DEPLOYMENTS, body, dryRun="All", **query)
        assert taken.warnings == ((f'unknown field "{told}"',) if warnings else ())
        assert "blue" not in json.dumps(taken.object)


async def test_unknown_fields_of_a_patch_are_told_with_the_patch(api: Api) -> None:
    await api.create(STATEFUL_SETS, stateful_set())
    change = {"spec": {"colour": "blue"}}
    for how, start in ((Patch.MERGE, 'Invalid value: "{'), (Patch.STRATEGIC, 'Invalid value: "map[spec:map[colour:blue]]": ')):
        answer = await api.patch(how, STATEFUL_SETS, "web", change, fieldValidation="Strict")
        ((field, reason, message),) = answer.causes
        assert (answer.status, field, reason) == (422, "patch", INVALID)
        assert message.startswith(start) and message.endswith('strict decoding error: unknown field "spec.colour"')
        assert (await api.patch(how, STATEFUL_SETS, "web", change)).warnings == ('unknown field "spec.colour"',)


async def test_unknown_fields_of_a_custom_object_are_pruned(api: Api) -> None:
    await api.offer_splits()
    body = changed(traffic_split(), "blue", "spec", "colour")
    taken = await api.create(SPLITS, body)
    assert (taken.warnings, taken.object["spec"]) == (('unknown field "spec.colour"',), traffic_split()["spec"])
    strict = await api.create(SPLITS, changed(body, "other", "metadata", "name"), fieldValidation="Strict")
    message = 'TrafficSplit in version "v1alpha4" cannot be handled as a TrafficSplit: strict decoding error: '
    assert strict.body == refusal(400, "BadRequest", message + 'unknown field "spec.colour"')


async def test_a_field_that_is_given_twice_is_refused_or_warned_of(api: Api) -> None:
    text = json.dumps(deployment(paused=True, replicas=0)).replace('"paused": true', '"paused": false, "paused": true')
    strict = await api.send("POST", api.path(DEPLOYMENTS, fieldValidation="Strict", dryRun="All"), text)
    assert strict.message.endswith('strict decoding error: duplicate field "spec.paused"')
    warned = await api.send("POST", api.path(DEPLOYMENTS, dryRun="All"), text)
    assert (warned.object["spec"]["paused"], warned.warnings) == (True, ('duplicate field "spec.paused"',))


async def test_a_way_of_validation_that_is_none_is_refused(api: Api) -> None:
    answer = await api.create(CONFIG_MAPS, config_map(), fieldValidation="Perhaps")
    assert answer.causes == [unsupported("fieldValidation", "Perhaps", "", "Ignore", "Strict", "Warn")]
    assert answer.body["details"]["kind"] == "CreateOptions"


# --- what must not change --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", [DEPLOYMENTS, REPLICA_SETS])
async def test_the_selector_of_a_workload_stays(api: Api, resource: str) -> None:
    body = changed(BODIES[resource], 0, "spec", "replicas")
    await api.create(resource, body)
    labels = body["spec"]["template"]["metadata"]["labels"]
    selector = {"matchLabels": labels, "matchExpressions": [{"key": "app", "operator": "Exists"}]}
    answer = await api.operate(resource, body["metadata"]["name"], replace("/spec/selector", selector))
    assert [cause[:2] for cause in answer.causes] == [("spec.selector", INVALID)]
    assert answer.causes[0][2].endswith(": field is immutable")
    assert answer.status == 422


async def test_most_of_a_stateful_set_stays(api: Api) -> None:
    await api.create(STATEFUL_SETS, stateful_set())
    answer = await api.merge(STATEFUL_SETS, "web", {"spec": {"serviceName": "other"}})
    told = (
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    )
    assert answer.causes == [forbidden("spec", told)]


async def test_the_address_of_a_service_stays(api: Api) -> None:
    made = (await api.create(SERVICES, service())).object
    answer = await api.merge(SERVICES, "web", {"spec": {"clusterIP": "10.96.255.254"}})
    assert answer.causes == [invalid("spec.clusterIPs[0]", ["10.96.255.254"], "may not change once set")]
    kept = (await api.merge(SERVICES, "web", {"spec": {"clusterIP": None}})).object
    assert kept["spec"] == made["spec"]
    replaced = (await api.replace(SERVICES, service())).object
    assert replaced["spec"] == made["spec"], "who leaves the address out keeps it"
    both = await api.merge(SERVICES, "web", {"spec": {"clusterIPs": ["10.96.255.254"]}})
    assert both.causes == [invalid("spec.clusterIPs", ["10.96.255.254"], "first value must match `clusterIP`")]


async def test_the_template_of_a_job_stays(api: Api) -> None:
    await api.create(JOBS, changed(BODIES[JOBS], True, "spec", "suspend"))
    answer = await api.operate(JOBS, "once", replace("/spec/template/spec/containers/0/image", "web:2"))
    assert [cause[:2] for cause in answer.causes] == [("spec.template.spec", INVALID)]
    assert answer.causes[0][2].endswith(": field is immutable")


async def test_an_immutable_config_map_stays(api: Api) -> None:
    await api.create(CONFIG_MAPS, {**config_map(), "immutable": True})
    answer = await api.merge(CONFIG_MAPS, "colour", {"data": {"is": "blue"}, "immutable": False})
    told = "field is immutable when `immutable` is set"
    assert answer.causes == [forbidden("immutable", told), forbidden("data", told)]
