"""Hold the library to recorded answers of the reference, case by case.

    python tests/conformance.py KIND FILE.jsonl.gz

runs every case of a file of gzipped JSON lines, prints a line for each that fails (its name and
the first difference), and closes with "N passed, M failed". Exit status 0 only if none failed.

A case is {"name", "input", "expected", "varies"}. `varies` names what differs between runs of
the reference, which is left out of `expected`. Kinds:

- reconcile: the counts of writes, then, for every group, the sizes of its slices and its
  endpoints in full, the metadata of what is written, and the Pods left out.
- hints: whether hints are given or not, and why not; for trafficDistribution, the hints of each
  endpoint; for topology-mode Auto, how many each zone has, where the reference writes all slices.
- size: the bytes of a slice as protobuf and as JSON.
- mirror: the counts of writes, then, for every group, its slices with their endpoints in full; and,
  in every case, that each address that is to be mirrored is in a slice, and no other one. Where
  the counts vary, the reference loses slices that it means to create.
- validate: the field and the type of each error; a case with an `old` slice is an update.
- categorize: for each port, its endpoints after merging in full, and which of them each policy and
  the whole node can reach. Cases of which all varies are passed over.

A protocol that a recording leaves empty is TCP, as the API server makes it.

Departures from the reference that are ours on purpose:

- an update carries resourceVersion;
- order is canonical. So where one endpoint stands in two slices, the reference keeps the copy of
  the slice that happens to be listed first, and we the one that costs no write, whatever the
  order. In such a group the sizes may differ by which copy stays; the number of slices, their
  sum and the counts of writes may not.
- the API says that an endpoint which does not say whether it is ready is ready. The reference's
  rule for hints takes it not to be, so the cases are read as it reads them;
- exact arithmetic. Where the reference's doubles are on the other side of a limit than the exact
  number is, what it decided need not agree; `is_rounded_case` finds these cases out.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from ipaddress import ip_address
from itertools import chain
from math import ceil, floor
from pathlib import Path
from typing import Any, Final

import attrs

from endpointslice import (
    Backend,
    CreateSlice,
    EndpointGroup,
    EndpointSlice,
    FrozenDict,
    GroupKey,
    HintDecision,
    HintPolicy,
    KubernetesPacking,
    ObjectMeta,
    PackingStrategy,
    Plan,
    ProportionalZones,
    Service,
    ServicePlan,
    ServicePortName,
    SkipReason,
    UpdateSlice,
    apply_plan,
    assign_hints,
    decode_endpoints,
    decode_node,
    decode_pod,
    decode_service,
    decode_slice,
    encode_slice,
    hint_policy,
    json_size,
    merge_slices,
    mirror,
    protobuf_size,
    reconcile_service,
    select_endpoints,
    validate_slice,
    validate_update,
)

_LABELS_OF_THE_LISTER: Final = {
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
}
#: What decides whether the answers agree; anything else in a case is context.
Case = Mapping[str, Any]


def read_cases(path: str | Path) -> Iterator[Case]:
    """Yield the cases of a file of gzipped JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def existing_slices(given: Mapping[str, Any]) -> list[Any]:
    """Decode the slices that the reference was handed.

    Its controller lists slices by label, in the Service's namespace, so those that a recording
    hands over without these marks are given them here.
    """
    service = given["service"]["metadata"]
    found = []
    for manifest in given["existing"] or ():
        meta = dict(manifest["metadata"])
        meta["labels"] = {
            **(meta.get("labels") or {}),
            **_LABELS_OF_THE_LISTER,
            "kubernetes.io/service-name": service["name"],
        }
        meta.setdefault("namespace", service.get("namespace", ""))
        found.append(decode_slice({**manifest, "metadata": meta}))
    return found


def plan_case(given: Mapping[str, Any], strategy: PackingStrategy) -> ServicePlan:
    """Plan one `reconcile` case. Its Pods are those that the selector has chosen already."""
    service = attrs.evolve(decode_service(given["service"]), selector=FrozenDict())
    return reconcile_service(
        service,
        map(decode_pod, given["pods"] or ()),
        map(decode_node, given["nodes"] or ()),
        existing_slices(given),
        strategy=strategy,
        max_endpoints_per_slice=given["maxEndpointsPerSlice"],
        trigger_time=given.get("now"),
    )


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _group_name(manifest: Mapping[str, Any]) -> str:
    ports = sorted(map(_canonical, manifest["ports"] or ()))
    return f"{manifest['addressType']} [{', '.join(ports)}]"


def _recorded_name(text: str) -> str:
    kind, _, ports = text.partition(" ")
    stated = [{**port, "protocol": port.get("protocol") or "TCP"} for port in json.loads(ports)]
    return _group_name({"addressType": kind, "ports": stated})


def groups_of(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The sizes of each group's slices, and its endpoints, both sorted."""
    groups: dict[str, dict[str, Any]] = {}
    for manifest in manifests:
        group = groups.setdefault(_group_name(manifest), {"sizes": [], "endpoints": []})
        group["sizes"].append(len(manifest["endpoints"] or ()))
        group["endpoints"] += map(_canonical, manifest["endpoints"] or ())
    return {
        name: {part: sorted(values) for part, values in group.items()}
        for name, group in groups.items()
    }


def expected_groups(case: Case) -> dict[str, dict[str, Any]]:
    """The recorded groups, in the form of `groups_of`."""
    return {
        _recorded_name(name): {
            part: sorted(map(_canonical, values) if part == "endpoints" else values)
            for part, values in group.items()
        }
        for name, group in case["expected"].get("groups", {}).items()
    }


def groups_with_duplicates(slices: list[EndpointSlice]) -> set[str]:
    """The groups in which an endpoint stands more than once."""
    seen: set[tuple[str, str]] = set()
    doubled = set()
    for stored in slices:
        name = _group_name(encode_slice(stored))
        for endpoint in stored.endpoints:
            if (name, endpoint.key) in seen:
                doubled.add(name)
            seen.add((name, endpoint.key))
    return doubled


def _difference(what: str, expected: object, found: object) -> Iterator[str]:
    if expected != found:
        yield f"{what}: expected {expected}, found {found}"


def check_reconcile(case: Case) -> Iterator[str]:
    """Yield what differs from the reference in one `reconcile` case."""
    given, expected = case["input"], case["expected"]
    result = plan_case(given, KubernetesPacking())
    plan = result.plan
    yield from _difference_of_counts(expected, plan)
    after = [encode_slice(stored) for stored in apply_plan(existing_slices(given), plan)]
    found = groups_of(after)
    if "groups" in expected:
        wanted = expected_groups(case)
        doubled = groups_with_duplicates(existing_slices(given))
        yield from _difference("groups", sorted(wanted), sorted(found))
        for name in sorted(wanted.keys() & found.keys()):
            expect, have = wanted[name], found[name]
            yield from _difference(f"endpoints of {name}", expect["endpoints"], have["endpoints"])
            sizes = [expect["sizes"], have["sizes"]]
            if name in doubled:
                sizes = [[len(values), sum(values)] for values in sizes]
            yield from _difference(f"sizes of {name}", *sizes)
    recorded = expected.get("written_metadata")
    if recorded is not None:
        written: list[CreateSlice | UpdateSlice] = [*plan.creates, *plan.updates]
        for operation in written:
            meta = encode_slice(operation.after)["metadata"]
            for part in ("annotations", "labels", "ownerReferences"):
                yield from _difference(part, recorded.get(part), meta.get(part))
            if operation.before is None:
                part = "generateName"
                yield from _difference(part, recorded.get(part), meta.get(part))
    if "error" in expected:
        left_out = {pod.name for pod in result.skipped if pod.reason is SkipReason.NODE_NOT_FOUND}
        named = set(re.findall(r"skipping Pod (\S+) for Service", expected["error"]))
        yield from _difference("error", sorted(named), sorted(left_out))


def check_size(case: Case) -> Iterator[str]:
    """Yield what differs from the reference in one `size` case."""
    stored = decode_slice(case["input"])
    yield from _difference("proto", case["expected"]["proto"], protobuf_size(stored))
    yield from _difference("json", case["expected"]["json"], json_size(stored))


#: Messages of the reference's events, as they begin, and what they are here.
_REFUSALS: Final = {
    "Insufficient Node information": "InsufficientNodeInfo",
    "Insufficient number of endpoints": "InsufficientNumberOfEndpoints",
    "Unable to allocate minimum": "MinAllocationExceedsOverloadThreshold",
    "One or more endpoints do not have a zone": "NoZoneSpecified",
}


def is_rounded_case(given: Mapping[str, Any]) -> bool:
    """Whether doubles tell another limit for some zone than exact numbers do."""
    slices = chain.from_iterable(_slices_for_hints(given).values())
    ready = sum(item.conditions.ready for stored in slices for item in stored.endpoints)
    cpu: Counter[str] = Counter()
    for node in map(decode_node, given["nodes"] or ()):
        is_control_plane = "node-role.kubernetes.io/control-plane" in node.metadata.labels
        if node.ready and node.zone and not is_control_plane:
            cpu[node.zone] += node.allocatable_cpu
    total = sum(cpu.values())
    for share in cpu.values():
        exact, double = Fraction(share * ready, total), share / total * ready
        limits = ceil(exact / Fraction(6, 5)), floor(2 * exact), ceil(2 * exact)
        if limits != (ceil(double * (1 / (1 + 0.2))), floor(2 * double), ceil(2 * double)):
            return True
    return False


def _slices_for_hints(given: Mapping[str, Any]) -> dict[str, list[EndpointSlice]]:
    """The slices of a `hints` case, as the reference's rule reads them."""
    found: dict[str, list[EndpointSlice]] = {}
    for part in ("toCreate", "toUpdate", "unchanged"):
        found[part] = []
        for i, manifest in enumerate(given[part] or ()):
            name = manifest["metadata"].get("name") or f"{part}-{i}"
            endpoints = []
            for j, endpoint in enumerate(manifest.get("endpoints") or ()):
                conditions = dict(endpoint.get("conditions") or {})
                if conditions.get("ready") is None:
                    conditions["ready"] = False
                # Some recordings have one address in many places; they are told apart by this.
                target = {"kind": "Pod", "name": f"{name}-{j}"}
                endpoints.append({**endpoint, "conditions": conditions, "targetRef": target})
            stored = {**manifest, "metadata": {"name": name}, "endpoints": endpoints}
            found[part].append(decode_slice(stored))
    return found


def decide_case(given: Mapping[str, Any], policy: HintPolicy) -> HintDecision:
    """Decide one `hints` case: what the reference writes is wanted, and stands nowhere yet."""
    slices = _slices_for_hints(given)
    groups = [
        EndpointGroup(key=item.group_key, endpoints=item.endpoints)
        for item in chain.from_iterable(slices.values())
    ]
    # An address type that has no endpoint is asked about all the same.
    groups.append(EndpointGroup(key=GroupKey(address_type=given["addressType"])))
    nodes = map(decode_node, given["nodes"] or ())
    return assign_hints(policy, groups, nodes=nodes, current=slices["unchanged"])


def check_hints(case: Case) -> Iterator[str]:
    """Yield what differs from the reference in one `hints` case."""
    given, expected = case["input"], case["expected"]
    slices = _slices_for_hints(given)
    distribution = given.get("trafficDistribution")
    policy: HintPolicy = ProportionalZones(sticky=False, hysteresis=False)
    if distribution is not None:
        service = Service(metadata=ObjectMeta(name="web"), traffic_distribution=distribution)
        policy, _ = hint_policy(service)
    decision = decide_case(given, policy)
    hints = {item.key: item.hints for group in decision.groups for item in group.endpoints}
    written = slices["toCreate"] + [
        item
        for item in slices["toUpdate"] + slices["unchanged"]
        if item.name in expected["updated"]
    ]
    ready = [item for stored in written for item in stored.endpoints if item.conditions.ready]
    if distribution is not None:
        found = {
            item.addresses[0]: {
                "forZones": list(hints[item.key].for_zones),
                "forNodes": list(hints[item.key].for_nodes),
            }
            for item in ready
        }
        yield from _difference("exact", expected["exact"], found)
        for stored in slices["unchanged"]:
            if stored not in written:
                was = [item.hints for item in stored.endpoints if item.conditions.ready]
                now = [hints[item.key] for item in stored.endpoints if item.conditions.ready]
                yield from _difference(f"hints in {stored.name}", was, now)
        return
    if is_rounded_case(given):
        return
    told = " ".join(expected["events"])
    refusals = [reason for message, reason in _REFUSALS.items() if message in told]
    yield from _difference("reasons", refusals, [str(item.reason) for item in decision.fallbacks])
    if "hints_by_zone" in expected and not slices["unchanged"]:
        counts = Counter(zone for item in ready for zone in hints[item.key].for_zones)
        yield from _difference("hints_by_zone", expected["hints_by_zone"], dict(counts))


def check_categorize(case: Case) -> Iterator[str]:
    """Yield what differs from the reference in one `categorize` case."""
    if "all" in case["varies"]:
        return
    given, answer = case["input"], case["expected"]
    service, node = decode_service(given["service"]), given["nodeName"]
    merged = merge_slices(map(decode_slice, given["slices"] or ()))
    yield from _difference("node", answer.get("node", node), node)
    ports = answer.get("ports") or {}
    yield from _difference("number of ports", len(ports), len(service.ports))
    for title, expected in ports.items():
        port = ServicePortName(
            namespace=service.metadata.namespace,
            service=service.metadata.name,
            address_type=given["ipFamily"],
            name=expected["port"],
            protocol=expected["protocol"],
        )
        name = f":{port.name}" if port.name else ""
        yield from _difference("port", title, f"{port.namespace}/{port.service}{name}")
        selection = select_endpoints(
            service,
            port,
            merged.get(port, ()),
            node_name=node,
            zone=(given["topologyLabels"] or {}).get("topology.kubernetes.io/zone"),
        )
        found = {
            "usesCluster": selection.cluster is not None,
            "usesLocal": selection.local is not None,
            "hasAny": selection.has_endpoints,
            "cluster": sorted(map(str, selection.cluster or ())),
            "local": sorted(map(str, selection.local or ())),
            "reachable": sorted(map(str, selection.reachable)),
            "endpoints": [_state_of(backend, node) for backend in selection.backends],
        }
        for part, value in found.items():
            recorded = expected.get(part, value)
            both = [recorded, value]
            if isinstance(value, list):  # null is what Go has for an empty list
                both = [sorted(map(_canonical, item or ())) for item in both]
            yield from _difference(f"{part} of {title}", *both)


def _state_of(backend: Backend, node: str) -> dict[str, Any]:
    """An endpoint after merging, as it is recorded: hints only where there are any."""
    endpoint = backend.endpoint
    state = {
        "ep": str(backend),
        "local": endpoint.node_name == node,
        "ready": endpoint.conditions.ready,
        "serving": endpoint.conditions.serving,
        "terminating": endpoint.conditions.terminating,
        "zoneHints": sorted(endpoint.hints.for_zones),
        "nodeHints": sorted(endpoint.hints.for_nodes),
    }
    return {name: value for name, value in state.items() if value != []}


def mirrored_slices(given: Mapping[str, Any]) -> list[EndpointSlice]:
    """Decode the slices that a mirror is planned against, which have the object's namespace."""
    namespace = given["endpoints"]["metadata"].get("namespace", "")
    return [
        decode_slice({**manifest, "metadata": {"namespace": namespace, **manifest["metadata"]}})
        for manifest in given["existing"] or ()
    ]


def mirrored_addresses(given: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """What is to be mirrored, said again and independently: type, port, address, readiness.

    Each port has the addresses of all subsets that it stands in, those not ready that are so in
    any. Ports that share their addresses share the limit: the ready ones first, by their spelling.
    """
    ports: dict[str, dict[tuple[str, str], bool]] = {}
    for subset in given["endpoints"].get("subsets") or ():
        for port in subset.get("ports") or [{}]:
            title = _canonical({"name": "", "protocol": "TCP", **port}) if port else ""
            found = ports.setdefault(title, {})
            for name, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(name) or ():
                    key = (address["ip"], (address.get("targetRef") or {}).get("uid", ""))
                    found[key] = ready and found.get(key, True)
    answer: set[tuple[str, ...]] = set()
    if given["endpoints"]["metadata"].get("deletionTimestamp"):
        return answer
    for title, found in ports.items():
        count = 0
        for key, ready in sorted(found.items(), key=lambda item: (not item[1], item[0])):
            family = _family_of(key[0])
            if family and count < given["maxEndpointsPerSubset"]:
                answer.add((family, title, key[0], str(ready)))
                count += 1
    return answer


def _family_of(text: str) -> str:
    try:
        return f"IPv{ip_address(text).version}"
    except ValueError:
        return ""


def check_mirror(case: Case) -> Iterator[str]:
    """Yield what differs from the reference in one `mirror` case."""
    given, expected = case["input"], case["expected"]
    current = mirrored_slices(given)
    plan = mirror(
        decode_endpoints(given["endpoints"]),
        current,
        max_endpoints_per_subset=given["maxEndpointsPerSubset"],
    )
    yield from _difference_of_counts(expected, plan)
    after = [encode_slice(stored) for stored in apply_plan(current, plan)]
    if "groups" in expected:
        wanted = {
            _recorded_name(name): sorted(sorted(map(_canonical_of_text, item)) for item in slices)
            for name, slices in expected["groups"].items()
        }
        found: dict[str, list[list[str]]] = {}
        for manifest in after:
            endpoints = sorted(map(_canonical, manifest["endpoints"] or ()))
            found.setdefault(_group_name(manifest), []).append(endpoints)
        yield from _difference("groups", sorted(wanted), sorted(found))
        for name in sorted(wanted.keys() & found.keys()):
            yield from _difference(f"slices of {name}", wanted[name], sorted(found[name]))
    mirrored = [
        (manifest["addressType"], port and _canonical(port), endpoint["addresses"][0], str(ready))
        for manifest in after
        for port in manifest["ports"] or [""]
        for endpoint in manifest["endpoints"] or ()
        for ready in (endpoint["conditions"]["ready"],)
    ]
    yield from _difference("addresses", sorted(mirrored_addresses(given)), sorted(mirrored))


def _canonical_of_text(text: str) -> str:
    return _canonical(json.loads(text))


def _difference_of_counts(expected: Mapping[str, Any], plan: Plan) -> Iterator[str]:
    if "counts" in expected:
        counts = {
            "creates": len(plan.creates),
            "updates": len(plan.updates),
            "deletes": len(plan.deletes),
        }
        yield from _difference("counts", expected["counts"], counts)


def check_validate(case: Case) -> Iterator[str]:
    """Yield how the errors differ from a recorded answer."""
    given = case["input"]
    if "old" in given:
        found = validate_update(given["old"], given["slice"])
    else:
        found = validate_slice(given)
    errors = sorted([item.field, str(item.type)] for item in found)
    yield from _difference("errors", case["expected"]["errors"], errors)


CHECKS: Final[Mapping[str, Callable[[Case], Iterator[str]]]] = {
    "categorize": check_categorize,
    "hints": check_hints,
    "mirror": check_mirror,
    "reconcile": check_reconcile,
    "size": check_size,
    "validate": check_validate,
}


def main(arguments: list[str]) -> int:
    """Run the command line."""
    if len(arguments) != 2 or arguments[0] not in CHECKS:
        print(f"usage: conformance.py {'|'.join(CHECKS)} FILE.jsonl.gz", file=sys.stderr)
        return 2
    check = CHECKS[arguments[0]]
    passed = failed = 0
    for case in read_cases(arguments[1]):
        try:
            difference = next(check(case), None)
        except Exception as error:  # a crash is a failed case, not the end of the run
            difference = f"{type(error).__name__}: {error}"
        if difference is None:
            passed += 1
        else:
            failed += 1
            print(f"{case['name']}: {difference}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
