"""The API server without I/O: what the recordings do not show, and its faults."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any, Final, cast

import pytest

from endpointslice.errors import ModelError
from endpointslice.testing import (
    Cluster,
    ConnectionDroppedError,
    Denial,
    Fault,
    FaultKind,
    HttpRequest,
    HttpResponse,
    StatusError,
)

SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY: Final = "application/apply-patch+yaml"


def a_slice(name: str = "web-1", **changes: Any) -> dict[str, Any]:
    meta = {"name": name, "labels": {"kubernetes.io/service-name": "web"}}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**meta, **changes.pop("metadata", {})},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"name": "http", "port": 80}],
        **changes,
    }


def an_object(kind: str, name: str, version: str = "v1", **fields: Any) -> dict[str, Any]:
    meta = {"name": name, **fields.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **fields}


def ask(
    cluster: Cluster,
    method: str,
    target: str,
    body: Any = b"",
    content_type: str = "application/json",
    **headers: str,
) -> HttpResponse:
    request = HttpRequest.of(method, target, body, content_type=content_type, headers=headers)
    return cluster.handle(request)


def do(cluster: Cluster, *arguments: Any, **headers: str) -> dict[str, Any]:
    answered = ask(cluster, *arguments, **headers)
    assert answered.status < 300, answered.body
    body: dict[str, Any] = answered.json()
    return body


def names_of(cluster: Cluster, target: str) -> list[str]:
    return [item["metadata"]["name"] for item in do(cluster, "GET", target)["items"]]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(namespaces=["shop"])


# --- the same again ---------------------------------------------------------------------------


def history(seed: int) -> tuple[list[bytes], list[str]]:
    cluster = Cluster(seed=seed, namespaces=["shop"])
    cluster.inject(Fault(kind=FaultKind.CONFLICT, rate=0.5, times=None, verb="update"))
    answers = []
    for i in range(20):
        made = do(cluster, "POST", SLICES, a_slice("", metadata={"generateName": "web-"}))
        made["endpoints"] = [{"addresses": [f"10.0.1.{i}"]}]
        path = f"{SLICES}/{made['metadata']['name']}"
        answers += [json.dumps(made).encode(), ask(cluster, "PUT", path, made).body]
    return answers, [item.name for item in cluster.injected]


def test_one_seed_is_one_history_and_another_is_another() -> None:
    first, failed = history(1)
    assert (first, failed) == history(1)
    assert first != history(2)[0]
    assert 0 < len(failed) < 20


# --- selectors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app=a", ["one"]),
        ("app==a", ["one"]),
        ("app!=a", ["three", "two"]),
        ("app", ["one", "two"]),
        ("!app", ["three"]),
        ("app in (a,b)", ["one", "two"]),
        ("app notin (a)", ["three", "two"]),
        ("app in (a, b),tier", ["two"]),
        ("tier=", []),
        ("n>1", ["two"]),
        ("n<2", ["one"]),
        ("", ["one", "three", "two"]),
        ("example.org/x-y=1.2_3", ["three"]),
    ],
)
def test_labels_select(cluster: Cluster, selector: str, found: list[str]) -> None:
    for name, labels in (
        ("one", {"app": "a", "n": "1"}),
        ("two", {"app": "b", "tier": "x", "n": "2"}),
        ("three", {"example.org/x-y": "1.2_3"}),
    ):
        do(cluster, "POST", SLICES, a_slice(name, metadata={"labels": labels}))
    answered = ask(cluster, "GET", SLICES)
    assert answered.status == 200
    query = {"labelSelector": selector}
    request = HttpRequest(method="GET", path=SLICES, query=query)
    items = cluster.handle(request).json()["items"]
    assert [item["metadata"]["name"] for item in items] == found


@pytest.mark.parametrize("selector", ["a in b", "a in (b", "=a", "a b", "a,", "a>x", "a=b=c"])
def test_a_selector_that_cannot_be_read_is_refused(cluster: Cluster, selector: str) -> None:
    request = HttpRequest(method="GET", path=SLICES, query={"labelSelector": selector})
    answered = cluster.handle(request)
    assert answered.status == 400
    assert answered.json()["reason"] == "BadRequest"


def test_fields_select(cluster: Cluster) -> None:
    for name in ("a", "b"):
        do(cluster, "POST", SLICES, a_slice(name))
        pod = an_object("Pod", name, spec={"nodeName": f"node-{name}"})
        do(cluster, "POST", "/api/v1/namespaces/shop/pods", pod)
    assert names_of(cluster, f"{SLICES}?fieldSelector=metadata.name=a") == ["a"]
    assert names_of(cluster, f"{SLICES}?fieldSelector=metadata.name!=a") == ["b"]
    everywhere = "/apis/discovery.k8s.io/v1/endpointslices?fieldSelector=metadata.namespace="
    assert names_of(cluster, f"{everywhere}shop") == ["a", "b"]
    assert names_of(cluster, f"{everywhere}other") == []
    assert names_of(cluster, "/api/v1/pods?fieldSelector=spec.nodeName=node-b") == ["b"]
    assert ask(cluster, "GET", f"{SLICES}?fieldSelector=spec.nodeName=x").status == 400


# --- patches ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "labels"),
    [
        ({"op": "add", "path": "/metadata/labels/a", "value": "b"}, {"a": "b"}),
        ({"op": "replace", "path": "/metadata/labels", "value": {"a": "c"}}, {"a": "c"}),
        ({"op": "remove", "path": "/metadata/labels/kubernetes.io~1service-name"}, None),
        (
            {
                "op": "move",
                "from": "/metadata/labels/kubernetes.io~1service-name",
                "path": "/metadata/labels/x",
            },
            {"x": "web"},
        ),
        (
            {"op": "copy", "from": "/addressType", "path": "/metadata/labels/x"},
            {"x": "IPv4"},
        ),
    ],
)
def test_a_json_patch_is_carried_out(
    cluster: Cluster, operation: dict[str, Any], labels: dict[str, str] | None
) -> None:
    do(cluster, "POST", SLICES, a_slice())
    found = do(cluster, "PATCH", f"{SLICES}/web-1", [operation], JSON_PATCH)
    meta = found["metadata"]
    if operation["op"] in ("add", "copy"):
        assert meta["labels"].pop("kubernetes.io/service-name") == "web"
    assert meta.get("labels") == labels


def test_a_json_patch_edits_lists_and_fails_as_a_whole(cluster: Cluster) -> None:
    do(cluster, "POST", SLICES, a_slice())
    new = {"addresses": ["10.0.0.2"]}
    patch = [
        {"op": "add", "path": "/endpoints/-", "value": new},
        {"op": "add", "path": "/endpoints/0", "value": new},
        {"op": "remove", "path": "/endpoints/1"},
    ]
    found = do(cluster, "PATCH", f"{SLICES}/web-1", patch, JSON_PATCH)
    assert [item["addresses"] for item in found["endpoints"]] == [["10.0.0.2"]] * 2
    for bad in (
        {"op": "remove", "path": "/nothing"},
        {"op": "add", "path": "/endpoints/7", "value": new},
        {"op": "replace", "path": "endpoints", "value": []},
        {"op": "sing", "path": "/endpoints"},
    ):
        patch = [{"op": "remove", "path": "/endpoints/0"}, bad]
        assert ask(cluster, "PATCH", f"{SLICES}/web-1", patch, JSON_PATCH).status == 422
    assert do(cluster, "GET", f"{SLICES}/web-1") == found


def test_a_strategic_patch_merges_the_lists_that_have_keys(cluster: Cluster) -> None:
    service = an_object("Service", "web", spec={"ports": [{"port": 80}, {"port": 443}]})
    path = "/api/v1/namespaces/shop/services"
    do(cluster, "POST", path, service)
    patch = {
        "metadata": {"finalizers": ["example.org/a"], "labels": {"a": "b"}},
        "spec": {"ports": [{"port": 80, "name": "http"}, {"port": 443, "$patch": "delete"}]},
    }
    found = do(cluster, "PATCH", f"{path}/web", patch, STRATEGIC)
    assert [(port["port"], port["name"]) for port in found["spec"]["ports"]] == [(80, "http")]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.org/a"], "labels": None}}
    found = do(cluster, "PATCH", f"{path}/web", patch, STRATEGIC)
    assert found["metadata"].keys().isdisjoint({"finalizers", "labels"})
    assert found["spec"]["clusterIP"].startswith("10.96.")


def test_a_strategic_patch_replaces_where_it_is_told_to(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/shop/services"
    spec = {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}], "selector": {"a": "b"}}
    do(cluster, "POST", path, an_object("Service", "web", spec=spec))
    ports = [{"$patch": "replace"}, {"port": 82, "name": "c"}]
    patch = {"spec": {"$setElementOrder/ports": [{"port": 82}], "ports": ports}}
    found = do(cluster, "PATCH", f"{path}/web", patch, STRATEGIC)
    assert [port["port"] for port in found["spec"]["ports"]] == [82]
    patch = {"spec": {"selector": {"$patch": "replace", "c": "d"}, "ports": [{"port": 83}]}}
    found = do(cluster, "PATCH", f"{path}/web", patch, STRATEGIC)
    assert found["spec"]["selector"] == {"c": "d"}
    assert [port["port"] for port in found["spec"]["ports"]] == [82, 83]
    kept = {"spec": {"$retainKeys": ["ports", "selector"], "selector": {"e": "f"}}}
    found = do(cluster, "PATCH", f"{path}/web", kept, STRATEGIC)
    assert found["spec"]["selector"] == {"c": "d", "e": "f"}


def test_a_put_of_a_service_keeps_its_address(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/shop/services"
    service = an_object("Service", "web", spec={"ports": [{"port": 80}]})
    made = do(cluster, "POST", path, service)
    again = do(cluster, "PUT", f"{path}/web", {**service, "metadata": {"name": "web"}})
    assert again["spec"]["clusterIPs"] == made["spec"]["clusterIPs"] == [made["spec"]["clusterIP"]]


# --- server-side apply, beyond slices ---------------------------------------------------------


def test_apply_merges_keyed_lists_and_drops_what_is_no_longer_stated(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/shop/services/web"
    stated = an_object(
        "Service",
        "web",
        metadata={"labels": {"a": "1", "b": "1"}, "finalizers": ["example.org/a"]},
        spec={"ports": [{"port": 80, "protocol": "TCP", "name": "http"}]},
    )
    do(cluster, "PATCH", f"{path}?fieldManager=one", stated, APPLY)
    other = an_object(
        "Service", "web", spec={"ports": [{"port": 81, "protocol": "TCP", "name": "x"}]}
    )
    found = do(cluster, "PATCH", f"{path}?fieldManager=two", other, APPLY)
    assert [port["port"] for port in found["spec"]["ports"]] == [80, 81]
    fewer = an_object("Service", "web", metadata={"labels": {"a": "1"}})
    found = do(cluster, "PATCH", f"{path}?fieldManager=one", fewer, APPLY)
    assert [port["port"] for port in found["spec"]["ports"]] == [81]
    assert found["metadata"]["labels"] == {"a": "1"}
    assert "finalizers" not in found["metadata"]
    clash = an_object("Service", "web", metadata={"labels": {"a": "2"}})
    answered = ask(cluster, "PATCH", f"{path}?fieldManager=two", clash, APPLY)
    assert answered.status == 409
    assert answered.json()["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "one"',
            "field": ".metadata.labels.a",
        }
    ]


def test_a_manager_that_updates_takes_fields_from_one_that_applied(cluster: Cluster) -> None:
    path = f"{SLICES}/web-1?fieldManager=one"
    do(cluster, "PATCH", path, a_slice(), APPLY)
    patch = {"metadata": {"labels": {"kubernetes.io/service-name": "other"}}}
    found = do(cluster, "PATCH", f"{SLICES}/web-1?fieldManager=two", patch, MERGE)
    one, two = found["metadata"]["managedFields"]
    assert (one["manager"], two["manager"]) == ("one", "two")
    assert "f:metadata" not in one["fieldsV1"]
    label: dict[str, Any] = {"f:kubernetes.io/service-name": {}}
    assert two["fieldsV1"] == {"f:metadata": {"f:labels": label}}


# --- lists and watches ------------------------------------------------------------------------


def test_pages_are_of_one_moment(cluster: Cluster) -> None:
    for i in range(5):
        do(cluster, "POST", SLICES, a_slice(f"web-{i}"))
    page = do(cluster, "GET", f"{SLICES}?limit=2")
    do(cluster, "DELETE", f"{SLICES}/web-3")
    do(cluster, "POST", SLICES, a_slice("web-9"))
    names = [item["metadata"]["name"] for item in page["items"]]
    while token := page["metadata"].get("continue"):
        page = do(cluster, "GET", f"{SLICES}?limit=2&continue={token}")
        names += [item["metadata"]["name"] for item in page["items"]]
    assert names == [f"web-{i}" for i in range(5)]
    assert names_of(cluster, SLICES) == ["web-0", "web-1", "web-2", "web-4", "web-9"]


def test_a_watch_reads_when_it_wants_to(cluster: Cluster) -> None:
    watch = cluster.watch(f"{SLICES}?resourceVersion={cluster.resource_version}")
    for i in range(4):
        do(cluster, "POST", SLICES, a_slice(f"web-{i}"))
    do(cluster, "DELETE", f"{SLICES}/web-0")
    seen = [event.object["metadata"]["name"] for event in watch.events(3)]
    assert seen == ["web-0", "web-1", "web-2"]
    rest = watch.events()
    assert [event.type for event in rest] == ["ADDED", "DELETED"]
    assert not watch.events()
    cluster.close(watch)
    assert watch.is_over


def test_a_held_cache_is_stale_for_watches_and_for_lists_from_it(cluster: Cluster) -> None:
    do(cluster, "POST", SLICES, a_slice("old"))
    watch = cluster.watch(f"{SLICES}?resourceVersion={cluster.resource_version}")
    cluster.hold_watches()
    do(cluster, "POST", SLICES, a_slice("new"))
    assert not watch.events()
    assert names_of(cluster, f"{SLICES}?resourceVersion=0") == ["old"]
    assert names_of(cluster, SLICES) == ["new", "old"]
    cluster.release_watches()
    assert [event.object["metadata"]["name"] for event in watch.events()] == ["new"]
    assert names_of(cluster, f"{SLICES}?resourceVersion=0") == ["new", "old"]


def test_delayed_events_come_in_order_after_more_writes(cluster: Cluster) -> None:
    watch = cluster.watch(f"{SLICES}?resourceVersion={cluster.resource_version}")
    cluster.inject(Fault(kind=FaultKind.DELAY_EVENTS, name="b", writes=2))
    seen = []
    for name in "abcd":
        do(cluster, "POST", SLICES, a_slice(name))
        seen.append([event.object["metadata"]["name"] for event in watch.events()])
    assert seen == [["a"], [], [], ["b", "c", "d"]]
    assert [item.name for item in cluster.injected] == ["b"]


def test_a_watch_is_cut_off_in_the_middle_of_an_event(cluster: Cluster) -> None:
    watch = cluster.watch(f"{SLICES}?resourceVersion={cluster.resource_version}")
    cluster.inject(Fault(kind=FaultKind.CUT_WATCH, name="b"))
    for name in "abc":
        do(cluster, "POST", SLICES, a_slice(name))
    assert [event.object["metadata"]["name"] for event in watch.events()] == ["a"]
    with pytest.raises(ConnectionDroppedError):
        watch.events()
    again = cluster.watch(f"{SLICES}?resourceVersion={cluster.resource_version}")
    assert not again.events()


def test_a_watch_expires_by_a_fault_and_by_lagging(cluster: Cluster) -> None:
    cluster.inject(Fault(kind=FaultKind.EXPIRE_WATCH, verb="watch"))
    expired = cluster.watch(f"{SLICES}?resourceVersion={cluster.resource_version}").events()
    assert [(event.type, event.object["reason"]) for event in expired] == [("ERROR", "Expired")]

    short = Cluster(namespaces=["shop"], history=5)
    watch = short.watch(f"{SLICES}?resourceVersion={short.resource_version}")
    for i in range(20):
        do(short, "POST", SLICES, a_slice(f"web-{i}"))
    (event,) = watch.events()
    assert (event.type, event.object["code"]) == ("ERROR", 410)
    assert watch.is_over
    assert ask(short, "GET", f"{SLICES}?resourceVersion=8&resourceVersionMatch=Exact").status == 410


def test_restarting_ends_watches_and_forgets_what_was_written(cluster: Cluster) -> None:
    since = cluster.resource_version
    do(cluster, "POST", SLICES, a_slice())
    watch = cluster.watch(f"{SLICES}?resourceVersion={since}")
    cluster.expire_watches()
    assert watch.is_over
    (event,) = cluster.watch(f"{SLICES}?resourceVersion={since}").events()
    assert event.object["code"] == 410


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "reason", "wait"),
    [
        (FaultKind.CONFLICT, 409, "Conflict", None),
        (FaultKind.TOO_MANY_REQUESTS, 429, "TooManyRequests", "7"),
        (FaultKind.INTERNAL_ERROR, 500, "InternalError", None),
        (FaultKind.UNAVAILABLE, 503, "ServiceUnavailable", "7"),
        (FaultKind.TIMEOUT, 504, "Timeout", None),
        (FaultKind.TIMEOUT_AFTER, 504, "Timeout", None),
        (FaultKind.DROP_BEFORE, 0, "", None),
        (FaultKind.DROP_AFTER, 0, "", None),
    ],
)
def test_a_fault_answers_as_the_server_would_and_happens_so_often(
    cluster: Cluster, kind: FaultKind, status: int, reason: str, wait: str | None
) -> None:
    made = do(cluster, "POST", SLICES, a_slice())
    cluster.inject(Fault(kind=kind, verb="update", name="web-1", skip=1, times=1, retry_after=7))
    path = f"{SLICES}/web-1"
    for i, fails in enumerate([False, True, False]):
        made["endpoints"] = [{"addresses": [f"10.0.0.{i + 2}"]}]
        made["metadata"].pop("resourceVersion", None)
        if fails and not status:
            with pytest.raises(ConnectionDroppedError):
                ask(cluster, "PUT", path, made)
        else:
            answered = ask(cluster, "PUT", path, made)
            assert answered.status == (status if fails else 200)
            assert answered.headers.get("Retry-After") == (wait if fails else None)
            assert not fails or answered.json()["reason"] == reason
        if fails:
            (address,) = do(cluster, "GET", path)["endpoints"][0]["addresses"]
            has_effect = kind in (FaultKind.TIMEOUT_AFTER, FaultKind.DROP_AFTER)
            assert address == ("10.0.0.3" if has_effect else "10.0.0.2")
    (injected,) = cluster.injected
    assert (injected.kind, injected.verb, injected.name) == (kind, "update", "web-1")
    served = [item.status for item in cluster.requests if item.method == "PUT"]
    assert served == [200, status, 200]


def test_faults_are_told_apart_by_what_they_are_for(cluster: Cluster) -> None:
    cluster.inject(
        Fault(kind=FaultKind.INTERNAL_ERROR, resource="pods", times=None),
        Fault(kind=FaultKind.UNAVAILABLE, namespace="other", times=None),
        Fault(kind=FaultKind.TIMEOUT, verb="list", resource="endpointslices"),
    )
    assert ask(cluster, "GET", "/api/v1/namespaces/shop/pods").status == 500
    assert ask(cluster, "GET", "/api/v1/namespaces/other/services").status == 503
    assert [ask(cluster, "GET", SLICES).status for _ in range(2)] == [504, 200]
    cluster.clear_faults()
    assert ask(cluster, "GET", "/api/v1/namespaces/shop/pods").status == 200
    assert Counter(item.kind for item in cluster.injected) == {
        FaultKind.INTERNAL_ERROR: 1,
        FaultKind.UNAVAILABLE: 1,
        FaultKind.TIMEOUT: 1,
    }


# --- who may do what --------------------------------------------------------------------------


def test_a_token_is_asked_for_and_never_shown() -> None:
    cluster = Cluster(token="s3cret-token")
    for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic s3cret-token"}):
        answered = ask(cluster, "GET", "/api/v1/namespaces", **headers)
        assert (answered.status, answered.json()["reason"]) == (401, "Unauthorized")
        assert b"s3cret" not in answered.body
    request = HttpRequest.of(
        "GET", "/api/v1/namespaces", headers={"Authorization": "Bearer s3cret-token"}
    )
    assert cluster.handle(request).status == 200
    assert "s3cret" not in repr(request)
    assert "s3cret" not in repr(cluster.requests)


def test_who_has_no_right_is_told_which(cluster: Cluster) -> None:
    cluster.deny(
        Denial(verb="create", resource="endpointslices", namespace="shop"),
        Denial(verb="get", resource="endpointslices"),
        Denial(verb="list", resource="nodes"),
    )
    answered = ask(cluster, "POST", SLICES, a_slice())
    assert answered.status == 403
    assert answered.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'endpointslices.discovery.k8s.io is forbidden: User "tester" cannot create '
        'resource "endpointslices" in API group "discovery.k8s.io" in the namespace "shop"',
        "reason": "Forbidden",
        "details": {"group": "discovery.k8s.io", "kind": "endpointslices"},
        "code": 403,
    }
    message = ask(cluster, "GET", f"{SLICES}/web-1").json()["message"]
    assert message.startswith('endpointslices.discovery.k8s.io "web-1" is forbidden: User')
    assert ask(cluster, "GET", "/api/v1/nodes").json()["message"] == (
        'nodes is forbidden: User "tester" cannot list resource "nodes" in API group "" at the '
        "cluster scope"
    )
    assert ask(cluster, "GET", SLICES).status == 200
    cluster.deny()
    assert ask(cluster, "POST", SLICES, a_slice()).status == 201


def test_what_would_match_nothing_is_refused(cluster: Cluster) -> None:
    with pytest.raises(ModelError) as caught:
        Fault(kind=FaultKind.CONFLICT, verb="PUT")
    assert (caught.value.field, caught.value.value) == ("verb", "PUT")
    with pytest.raises(ModelError):
        Fault(kind=FaultKind.CONFLICT, times=0)
    with pytest.raises(ModelError):
        Denial(verb="post")
    with pytest.raises(StatusError, match='"endpointslice"'):
        cluster.objects("endpointslice")
    with pytest.raises(StatusError, match="404 page not found") as refused:
        cluster.watch("/apis/example.org/v1/machines")
    assert refused.value.code == 404


def test_a_name_that_is_too_long_is_refused_for_its_length(cluster: Cluster) -> None:
    answered = ask(cluster, "POST", "/api/v1/namespaces", an_object("Namespace", "n" * 64))
    assert answered.status == 422
    (cause,) = answered.json()["details"]["causes"]
    assert cause["message"].endswith(": must be no more than 63 characters")


@pytest.mark.parametrize("limit", ["1", 1])
def test_a_quota_bounds_how_many_there_are(cluster: Cluster, limit: object) -> None:
    counted = "count/endpointslices.discovery.k8s.io"
    quota = an_object("ResourceQuota", "few", spec={"hard": {counted: limit}})
    do(cluster, "POST", "/api/v1/namespaces/shop/resourcequotas", quota)
    do(cluster, "POST", SLICES, a_slice("a"))
    answered = ask(cluster, "POST", SLICES, a_slice("b"))
    assert (answered.status, answered.json()["reason"]) == (403, "Forbidden")
    assert answered.json()["message"] == (
        f'endpointslices.discovery.k8s.io "b" is forbidden: exceeded quota: few, requested: '
        f"{counted}=1, used: {counted}=1, limited: {counted}=1"
    )
    do(cluster, "DELETE", f"{SLICES}/a")
    assert ask(cluster, "POST", SLICES, a_slice("b")).status == 201


def test_an_api_group_can_be_absent() -> None:
    cluster = Cluster(without=["discovery.k8s.io/v1"])
    for path in ("", "/namespaces/default/endpointslices", "/endpointslices"):
        answered = ask(cluster, "GET", f"/apis/discovery.k8s.io/v1{path}")
        assert (answered.status, answered.body) == (404, b"404 page not found\n")
    groups = [item["name"] for item in do(cluster, "GET", "/apis")["groups"]]
    assert "discovery.k8s.io" not in groups
    assert "apps" in groups


# --- other kinds, and what controllers do -----------------------------------------------------

DEFINITION: Final = an_object(
    "CustomResourceDefinition",
    "backends.example.org",
    "apiextensions.k8s.io/v1",
    spec={
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"kind": "Backend", "plural": "backends", "shortNames": ["be"]},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}},
            {"name": "v1beta1", "served": True, "storage": False},
            {"name": "v1alpha1", "served": False, "storage": False},
        ],
    },
)


def test_a_definition_serves_its_resource_with_status_apart(cluster: Cluster) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    path = "/apis/example.org/v1/namespaces/shop/backends"
    assert ask(cluster, "GET", path).status == 404
    made = do(cluster, "POST", definitions, DEFINITION)
    types = [item["type"] for item in made["status"]["conditions"]]
    assert types == ["NamesAccepted", "Established"]
    found = do(cluster, "GET", "/apis/example.org/v1")["resources"]
    assert [item["name"] for item in found] == ["backends", "backends/status"]
    assert do(cluster, "GET", "/apis/example.org")["preferredVersion"]["version"] == "v1"

    backend = an_object("Backend", "vm", "example.org/v1", spec={"n": 1}, status={"ready": True})
    made = do(cluster, "POST", path, backend)
    assert "status" not in made
    made = do(cluster, "PATCH", f"{path}/vm/status", {"status": {"ready": True}}, MERGE)
    assert (made["status"], made["metadata"]["generation"]) == ({"ready": True}, 1)
    changes = {"spec": {"n": 2}, "status": {"ready": False}}
    made = do(cluster, "PATCH", f"{path}/vm", changes, MERGE)
    assert (made["status"], made["metadata"]["generation"]) == ({"ready": True}, 2)
    old = do(cluster, "GET", path.replace("/v1/", "/v1beta1/") + "/vm")
    assert (old["apiVersion"], old["spec"]) == ("example.org/v1beta1", {"n": 2})
    assert ask(cluster, "GET", path.replace("/v1/", "/v1alpha1/")).status == 404
    do(cluster, "DELETE", f"{definitions}/backends.example.org")
    assert ask(cluster, "GET", path).status == 404


def test_a_pod_on_a_node_ends_gracefully(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/shop/pods"
    do(cluster, "POST", path, an_object("Pod", "a", spec={"nodeName": "n"}))
    do(cluster, "POST", path, an_object("Pod", "b", spec={}))
    meta = do(cluster, "DELETE", f"{path}/a")["metadata"]
    assert meta["deletionGracePeriodSeconds"] == 30
    assert "deletionTimestamp" in meta
    do(cluster, "DELETE", f"{path}/b")
    assert names_of(cluster, path) == ["a"]
    do(cluster, "DELETE", f"{path}/a", {"gracePeriodSeconds": 0})
    assert names_of(cluster, path) == []


def test_garbage_is_collected_when_it_is_told(cluster: Cluster) -> None:
    services = "/api/v1/namespaces/shop/services"
    uid = do(cluster, "POST", services, an_object("Service", "web"))["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid}
    owned = a_slice(metadata={"ownerReferences": [{**owner, "blockOwnerDeletion": True}]})
    do(cluster, "POST", SLICES, owned)
    cluster.collect_garbage()
    assert names_of(cluster, SLICES) == ["web-1"]
    do(cluster, "DELETE", f"{services}/web", {"propagationPolicy": "Foreground"})
    assert names_of(cluster, services) == ["web"]
    cluster.collect_garbage()
    assert names_of(cluster, SLICES) == names_of(cluster, services) == []


def test_orphans_lose_their_owner_and_stay(cluster: Cluster) -> None:
    services = "/api/v1/namespaces/shop/services"
    uid = do(cluster, "POST", services, an_object("Service", "web"))["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid}
    do(cluster, "POST", SLICES, a_slice(metadata={"ownerReferences": [owner]}))
    do(cluster, "DELETE", f"{services}/web", {"propagationPolicy": "Orphan"})
    cluster.collect_garbage()
    assert names_of(cluster, services) == []
    (left,) = cluster.objects("endpointslices")
    assert not left["metadata"].get("ownerReferences")


def test_a_namespace_goes_with_all_that_is_in_it(cluster: Cluster) -> None:
    do(cluster, "POST", SLICES, a_slice())
    found = do(cluster, "DELETE", "/api/v1/namespaces/shop")
    assert found["status"]["phase"] == "Terminating"
    assert names_of(cluster, SLICES) == ["web-1"]
    cluster.collect_garbage()
    assert names_of(cluster, SLICES) == []
    assert ask(cluster, "GET", "/api/v1/namespaces/shop").status == 404


def test_objects_are_loaded_as_they_are(cluster: Cluster) -> None:
    pod = an_object(
        "Pod",
        "a",
        metadata={"namespace": "shop", "uid": "u-1", "resourceVersion": "99"},
        status={"phase": "Running", "podIP": "10.0.0.1"},
    )
    cluster.load([pod, a_slice(metadata={"namespace": "shop"})])
    (found,) = cluster.objects("pods", "shop")
    assert found["status"] == pod["status"]
    assert found["metadata"]["uid"] == "u-1"
    assert found["metadata"]["resourceVersion"] != "99"
    with pytest.raises(StatusError, match='namespaces "nowhere" not found'):
        cluster.load([a_slice(metadata={"namespace": "nowhere"})])
    with pytest.raises(StatusError, match="no matches for kind"):
        cluster.load([an_object("Widget", "x")])


def test_collections_are_deleted_by_selector(cluster: Cluster) -> None:
    for name, labels in (("a", {"k": "1"}), ("b", {"k": "2"}), ("c", {"k": "1"})):
        do(cluster, "POST", SLICES, a_slice(name, metadata={"labels": labels}))
    gone = do(cluster, "DELETE", f"{SLICES}?labelSelector=k=1")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "c"]
    assert names_of(cluster, SLICES) == ["b"]


def test_it_says_that_it_is_well_and_of_which_version_it_is() -> None:
    cluster = Cluster(version="v1.33.4")
    for path in ("/healthz", "/livez", "/readyz"):
        assert ask(cluster, "GET", path).body == b"ok"
    found = do(cluster, "GET", "/version")
    assert (found["minor"], found["gitVersion"]) == ("33", "v1.33.4")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("PUT", SLICES, 405),
        ("POST", f"{SLICES}/web-1", 405),
        ("OPTIONS", SLICES, 405),
        ("GET", f"{SLICES}/web-1/status", 404),
        ("GET", "/apis/discovery.k8s.io/v1/endpointslices/web-1", 404),
        ("GET", "/api/v1/namespaces/shop/nodes/n", 404),
        ("GET", "/nothing", 404),
        ("GET", "/apis/example.org", 404),
        ("GET", "/openapi/v3/apis/example.org/v1", 404),
        ("GET", f"{SLICES}/..%2Fweb-1", 404),
    ],
)
def test_what_is_not_served_is_refused(
    cluster: Cluster, method: str, target: str, status: int
) -> None:
    do(cluster, "POST", SLICES, a_slice())
    assert ask(cluster, method, target).status == status


@pytest.mark.parametrize(
    ("body", "content_type", "status", "words"),
    [
        (b"\x00", "application/vnd.kubernetes.protobuf", 415, "accepted media types"),
        (b"[]", "application/json", 400, "unrecognized"),
        ({**a_slice(), "metadata": []}, "application/json", 400, "cannot unmarshal metadata"),
        ({**a_slice(), "ports": "http"}, "application/json", 400, "cannot unmarshal ports"),
        ({**a_slice(), "endpoints": [7]}, "application/json", 400, "cannot unmarshal endpoints"),
    ],
)
def test_what_is_no_object_is_refused(
    cluster: Cluster, body: Any, content_type: str, status: int, words: str
) -> None:
    answered = ask(cluster, "POST", SLICES, body, content_type)
    assert answered.status == status
    assert words in answered.json()["message"]


def test_fields_that_are_not_known_go_with_a_warning(cluster: Cluster) -> None:
    sent = a_slice(metadata={"bogus": 1})
    sent["endpoints"] = [{"addresses": ["10.0.0.1"], "x": 1, "conditions": {"y": True}}]
    sent["ports"] = [{"port": 80, "z": 1}]
    answered = ask(cluster, "POST", SLICES, sent)
    assert answered.headers["Warning"].count("299 - ") == 4
    stored = answered.json()
    assert stored["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {}}]
    assert stored["ports"] == [{"name": "", "protocol": "TCP", "port": 80}]
    assert "bogus" not in stored["metadata"]
    quiet = ask(cluster, "PUT", f"{SLICES}/web-1?fieldValidation=Ignore", sent)
    assert "Warning" not in quiet.headers


# --- nonsense ---------------------------------------------------------------------------------

OBJECTS: Final = {
    SLICES: a_slice(
        metadata={
            "annotations": {"a": "b"},
            "finalizers": ["example.org/a"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}],
            "managedFields": [{"manager": "a", "fieldsV1": {"f:ports": {}}}],
        },
        endpoints=[
            {
                "addresses": ["10.0.0.1"],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod"},
                "hints": {"forZones": [{"name": "a"}]},
            }
        ],
    ),
    "/api/v1/namespaces/shop/services": an_object(
        "Service",
        "web",
        spec={"type": "ClusterIP", "ports": [{"port": 80}], "ipFamilies": ["IPv4"]},
    ),
    "/api/v1/namespaces/shop/pods": an_object(
        "Pod",
        "a",
        spec={"nodeName": "n", "terminationGracePeriodSeconds": 3, "containers": [{"name": "c"}]},
        status={"conditions": [{"type": "Ready", "status": "True"}]},
    ),
    "/api/v1/namespaces": an_object("Namespace", "other", spec={"finalizers": ["kubernetes"]}),
    "/api/v1/namespaces/shop/resourcequotas": an_object(
        "ResourceQuota", "few", spec={"hard": {"count/endpointslices.discovery.k8s.io": "100"}}
    ),
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": DEFINITION,
    "/apis/example.org/v1/namespaces/shop/backends": an_object(
        "Backend", "vm", "example.org/v1", spec={"a": [1, {"b": 2}]}, status={"conditions": [{}]}
    ),
}
NONSENSE: Final = json.loads(
    """[null, 0, -1, 1.5, true, "", "x", [], {}, [1], ["a"], [null], [{}], {"a": 1}, {"a": null},
        [[]], "0", "2026-01-01T00:00:00Z", 1000000000000000000000000000000]"""
)
BODIES: Final = ["application/json", MERGE, STRATEGIC, JSON_PATCH, APPLY]
QUERIES: Final = [
    "",
    "?fieldManager=a",
    "?fieldManager=b&force=1",
    "?limit=x",
    "?limit=-1&continue=",
    "?continue=e30",
    "?continue=ImEi",
    "?continue=eyJydiI6IDk5OTk5LCAic3RhcnQiOiAiIn0",
    "?watch=1&timeoutSeconds=x",
    "?resourceVersion=-1",
    "?resourceVersionMatch=Foo&resourceVersion=1",
    "?fieldSelector=,",
    "?labelSelector=%00",
    "?gracePeriodSeconds=x",
    "?dryRun=None",
]


HUGE: Final = "9" * 5000


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", SLICES, b"[" * 100_000, 400),
        ("POST", SLICES, b'{"metadata":{"generation":%s}}' % HUGE.encode(), 400),
        ("POST", SLICES, b'{"kind": "EndpointSlice"', 400),
        ("GET", f"{SLICES}?limit={HUGE}", b"", 200),
        ("GET", f"{SLICES}?watch=1&timeoutSeconds={HUGE}", b"", 200),
        ("GET", f"{SLICES}?continue=eyJydiI6MWU5OTksInN0YXJ0IjoiIn0", b"", 400),
        ("DELETE", f"{SLICES}/web-1?gracePeriodSeconds={HUGE}", b"", 400),
    ],
    ids=["deep", "number", "cut", "limit", "seconds", "token", "grace"],
)
def test_too_much_of_anything_is_answered(
    cluster: Cluster, method: str, target: str, body: bytes, status: int
) -> None:
    assert ask(cluster, "POST", SLICES, a_slice()).status == 201
    assert ask(cluster, method, target, body).status == status


def test_a_quota_of_more_than_there_can_be_is_none(cluster: Cluster) -> None:
    hard = {"count/endpointslices.discovery.k8s.io": HUGE}
    cluster.load([an_object("ResourceQuota", "many", spec={"hard": hard})])
    assert ask(cluster, "POST", SLICES, a_slice()).status == 201


def with_nonsense(chance: random.Random, manifest: dict[str, Any]) -> Any:
    """The manifest, with something else somewhere in it."""
    changed = copy.deepcopy(manifest)
    node: Any = changed
    while True:
        at = chance.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        if chance.random() < 0.4 or not isinstance(node[at], (dict, list)) or not node[at]:
            node[at] = copy.deepcopy(chance.choice(NONSENSE))
            return changed
        node = node[at]


def operations(chance: random.Random) -> list[dict[str, Any]]:
    paths = ["", "/metadata", "/spec", "/metadata/labels/a", "/endpoints/0", "/endpoints/-", 1]
    verbs = ["add", "remove", "replace", "move", "copy", "test", 1]
    operation = {"op": verbs, "path": paths, "from": paths, "value": NONSENSE}
    return [{name: chance.choice(values) for name, values in operation.items()}]


@pytest.mark.parametrize("seed", range(8))
def test_nonsense_is_answered(seed: int) -> None:
    chance = random.Random(seed)
    cluster = Cluster(seed=seed, namespaces=["shop"])
    cluster.load([DEFINITION])
    statuses: Counter[int] = Counter()
    for _ in range(600):
        path = chance.choice(sorted(OBJECTS))
        manifest = OBJECTS[path]
        method = chance.choice(["GET", "POST", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"])
        meta = cast("dict[str, Any]", manifest["metadata"])
        target = path if method == "POST" else f"{path}/{meta['name']}"
        body = chance.choice(
            [with_nonsense(chance, manifest), manifest, chance.choice(NONSENSE), operations(chance)]
        )
        if method == "DELETE":
            names = ["preconditions", "gracePeriodSeconds", "dryRun", "propagationPolicy"]
            body = {chance.choice(names): chance.choice([*NONSENSE, "Orphan", "Foreground"])}
        part = "/status" if chance.random() < 0.1 and method != "POST" else ""
        target = path if chance.random() < 0.1 else target + part
        query = chance.choice(QUERIES)
        answered = ask(cluster, method, target + query, body, chance.choice(BODIES))
        statuses[answered.status] += 1
        if answered.headers["Content-Type"] == "application/json" and "watch" not in query:
            assert answered.json()["kind"]
        if chance.random() < 0.02:
            cluster.collect_garbage()
    assert {200, 201, 400, 404, 409, 422} <= statuses.keys()
