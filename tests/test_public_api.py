"""What can be imported, what importing costs, and which types come out."""

from __future__ import annotations

import ast
import importlib
import importlib.resources
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, assert_type

import pytest

import endpointslice
import endpointslice.simulate
from endpointslice import (
    AddressType,
    ChurnTracker,
    Cost,
    CreateSlice,
    DecodedObjects,
    DeleteSlice,
    Endpoint,
    EndpointGroup,
    EndpointKey,
    EndpointPort,
    EndpointSlice,
    Explanation,
    FrozenDict,
    Grouping,
    GroupKey,
    HintDecision,
    HintFallback,
    HintPolicy,
    ManifestError,
    Node,
    Operation,
    Plan,
    Pod,
    ProportionalZones,
    Rendezvous,
    Repack,
    Service,
    ServicePlan,
    SingleObject,
    SkippedPod,
    SliceTemplate,
    SliceTracker,
    TriggerTimes,
    UpdateSlice,
    apply_plan,
    assign_hints,
    check_plan,
    decode_node,
    decode_objects,
    decode_pod,
    decode_pods,
    decode_service,
    decode_slice,
    decode_slices,
    encode_plan,
    encode_slice,
    encode_slices,
    explain_plan,
    group_endpoints,
    hint_policy,
    is_known_kind,
    iter_objects,
    json_size,
    price_plan,
    protobuf_size,
    reconcile,
    reconcile_service,
    select_pods,
    slice_template,
    trigger_time,
)
from endpointslice.simulate import (
    WORKLOADS,
    Change,
    Job,
    Mean,
    Result,
    Row,
    Run,
    Step,
    Sync,
    Trace,
    Workload,
    compare,
    decode_trace,
    encode_trace,
    follow,
    run_all,
    simulate,
    summarize,
    trace_from_watch,
)

PACKAGE: Final = Path(endpointslice.__file__).parent
#: Every module below the command line.
MODULES: Final = sorted(
    path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] not in ("cli", "__main__.py")
)
#: The shell around the core: it sends, waits and serves.
SHELL: Final = ("endpointslice.clients", "endpointslice.testing")
#: Each is imported by who has the client, and needs it.
ADAPTERS: Final = frozenset(
    f"endpointslice.clients.{client}"
    for client in ("kr8s", "kubernetes", "kubernetes_asyncio", "lightkube")
)


def _source(name: str) -> ast.Module:
    parts = name.split(".")
    return ast.parse(PACKAGE.parent.joinpath(*parts).with_suffix(".py").read_text())


def _literal_all(tree: ast.Module) -> list[str]:
    """The value of `__all__`, which must be a literal list of strings."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                names = ast.literal_eval(value)
                assert isinstance(names, list)
                return names
            case _:
                pass
    raise AssertionError("no __all__")


def _by_kind(name: str) -> tuple[int, str]:
    """Constants, classes, functions; each in the order of the alphabet."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


# --- names --------------------------------------------------------------------------------------


#: Both have the names of many modules, so that one need not know which one a name is in.
each_package = pytest.mark.parametrize(
    "package", [endpointslice, endpointslice.simulate], ids=lambda package: package.__name__
)


@each_package
def test_the_public_names_are_a_sorted_literal(package: ModuleType) -> None:
    names = _literal_all(_source(f"{package.__name__}.__init__"))
    assert names == package.__all__
    assert names == sorted(names, key=_by_kind)
    assert len(names) == len(set(names))


@each_package
def test_the_public_names_are_all_that_the_package_imports(package: ModuleType) -> None:
    tree = _source(f"{package.__name__}.__init__")
    imported = [
        alias.asname or alias.name
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    ]
    assert sorted(imported) == sorted(package.__all__)
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(package.__all__)


@each_package
def test_the_package_holds_no_logic(package: ModuleType) -> None:
    kinds = {type(statement) for statement in _source(f"{package.__name__}.__init__").body}
    assert kinds == {ast.Expr, ast.ImportFrom, ast.Assign}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__init__")])
def test_every_name_that_a_module_exports_is_there(name: str) -> None:
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported)


def test_the_fixed_names_are_there() -> None:
    fixed = """
        AddressType Protocol EndpointPort EndpointConditions EndpointHints ObjectReference Endpoint
        EndpointKey OwnerReference ObjectMeta EndpointSlice GroupKey EndpointGroup SliceTemplate
        Service Pod Node decode_slice decode_service decode_pod decode_node encode_slice
        decode_slices decode_pods encode_slices decode_endpoints encode_endpoints Endpoints
        EndpointSubset EndpointAddress endpoints_to_groups slices_to_endpoints mirror
        encode_plan reconcile reconcile_service CreateSlice UpdateSlice DeleteSlice Plan apply_plan
        check_plan price_plan explain_plan Cost PackingStrategy KubernetesPacking MinimalWrites
        Generational Rendezvous Repack SingleObject ChurnTracker SliceTracker trigger_time
        minimum_writes protobuf_size
        json_size EndpointSliceError ManifestError ModelError DuplicateEndpointError ConflictError
        TraceError UnsoundPlanError
    """
    assert set(fixed.split()) <= set(endpointslice.__all__)


@each_package
def test_everything_public_is_documented(package: ModuleType) -> None:
    bare = [
        name
        for name in package.__all__
        if callable(value := getattr(package, name)) and not value.__doc__
    ]
    assert bare == []


# --- typing -----------------------------------------------------------------------------------


def test_the_package_says_that_it_is_typed() -> None:
    assert importlib.resources.files("endpointslice").joinpath("py.typed").is_file()


def test_results_have_the_types_that_are_documented() -> None:
    manifest: Mapping[str, Any] = {"addressType": "IPv4", "metadata": {"name": "web-1"}}
    item = decode_slice(manifest)
    assert_type(item, EndpointSlice)
    assert_type(item.endpoints, tuple[Endpoint, ...])
    assert_type(item.ports, tuple[EndpointPort, ...])
    assert_type(item.address_type, AddressType)
    assert_type(item.group_key, GroupKey)
    assert_type(item.metadata.labels, FrozenDict[str, str])
    assert_type(encode_slice(item), dict[str, Any])
    assert_type(decode_slices([manifest]), tuple[EndpointSlice, ...])
    assert_type(encode_slices([item]), list[dict[str, Any]])
    assert_type(decode_pods([]), tuple[Pod, ...])
    assert_type(protobuf_size(item), int)
    assert_type(json_size(item), int)
    member = Endpoint(["10.0.0.1"])
    assert_type(member.key, EndpointKey)
    assert_type(member.hostname, str | None)

    named = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {}, "status": {}}
    service = assert_type(decode_service(named), Service)
    pod = assert_type(decode_pod(named), Pod)
    node = assert_type(decode_node(named), Node)
    assert_type(iter_objects([named]), Iterator[tuple[str, Mapping[str, Any] | ManifestError]])
    found = assert_type(decode_objects([named]), DecodedObjects)
    assert_type(found.problems, tuple[ManifestError, ...])
    assert_type(is_known_kind(named), bool)

    pods = assert_type(select_pods(service, [pod]), tuple[Pod, ...])
    grouping = assert_type(group_endpoints(service, pods, [node]), Grouping)
    assert_type(grouping.groups, tuple[EndpointGroup, ...])
    assert_type(grouping.skipped, tuple[SkippedPod, ...])
    template = assert_type(slice_template(service), SliceTemplate)
    policy, fallbacks = hint_policy(service)
    assert_type(policy, HintPolicy)
    assert_type(fallbacks, tuple[HintFallback, ...])
    decision = assert_type(assign_hints(policy, grouping.groups, nodes=[node]), HintDecision)
    assert_type(decision.fallbacks, tuple[HintFallback, ...])
    assert_type(ProportionalZones().assign(decision.groups), tuple[EndpointGroup, ...])

    plan = assert_type(reconcile(grouping.groups, [], template=template), Plan)
    answer = assert_type(reconcile_service(service, pods, [node], []), ServicePlan)
    assert_type(answer.plan, Plan)
    assert_type(plan.operations, tuple[Operation, ...])
    assert_type(plan.creates, tuple[CreateSlice, ...])
    assert_type(plan.updates, tuple[UpdateSlice, ...])
    assert_type(plan.deletes, tuple[DeleteSlice, ...])
    assert_type(plan.is_empty, bool)
    assert_type(apply_plan([], plan), tuple[EndpointSlice, ...])
    problems = check_plan(plan, desired=grouping.groups, current=[], max_endpoints_per_slice=100)
    assert_type(problems, tuple[str, ...])
    assert_type(price_plan(plan), Cost)
    assert_type(explain_plan(plan), tuple[Explanation, ...])
    assert_type(encode_plan(plan), dict[str, Any])
    assert_type(ChurnTracker().observe(plan), ChurnTracker)
    assert_type(ChurnTracker()(member), bool)
    tracker = assert_type(SliceTracker().planned(plan), SliceTracker)
    assert_type(tracker.observed(item).deleted(item), SliceTracker)
    assert_type(tracker.is_stale([item]), bool)
    times = assert_type(trigger_time(service, pods), TriggerTimes)
    assert_type(times.time, str | None)


def test_results_of_simulations_have_the_types_that_are_documented() -> None:
    workload = assert_type(WORKLOADS["roll-out-10-x3"], Workload)
    trace = assert_type(workload.trace(0), Trace)
    assert_type(trace.changes, tuple[Change, ...])
    assert_type(decode_trace(encode_trace(trace), name="again"), Trace)
    assert_type(trace_from_watch([], name="nothing"), Trace)
    assert_type(next(follow(trace, Repack())), Step)
    run = assert_type(simulate(trace, Rendezvous()), Run)
    assert_type(run.syncs, tuple[Sync, ...])
    assert_type(run.writes, int)
    assert_type(run.mean_fill, float)
    results = list(run_all([Job(source=trace, strategy=SingleObject(), check=False)]))
    assert_type(results, list[Result])
    rows = assert_type(compare(results), tuple[Row, ...])
    assert_type(rows[0].writes_ratio, float | None)
    assert_type(summarize(rows), tuple[Mean, ...])


# --- importing --------------------------------------------------------------------------------


def _run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    assert done.stderr == ""
    return done.stdout


def test_importing_the_package_imports_no_extra_and_nothing_heavy() -> None:
    loaded = set(_run("import sys, endpointslice; print(*sys.modules)").split())
    assert "endpointslice.reconcile" in loaded
    # Who plans needs no simulations and no client, nor what they need.
    others = ("endpointslice.simulate", *SHELL)
    assert [name for name in loaded if name.startswith(others)] == []
    extras = {"click", "rich", "yaml", "endpointslice.cli", "endpointslice.__main__"}
    heavy = {"asyncio", "threading", "logging", "random", "subprocess", "http", "ssl", "json"}
    # What attrs and the interpreter load by themselves is not our doing.
    own = set(_run("import sys, attrs; print(*sys.modules)").split())
    assert loaded & extras == set()
    assert (loaded - own) & heavy == set()


def test_the_package_works_where_no_extra_can_be_imported() -> None:
    script = f"""
import importlib
import sys
for extra in ("aiohttp", "click", "httpx", "httpx2", "kr8s", "rich", "urllib3", "yaml"):
    sys.modules[extra] = None
for name in {[name.removesuffix(".__init__") for name in MODULES if name not in ADAPTERS]}:
    importlib.import_module(name)
import endpointslice
print(endpointslice.decode_slice({{"addressType": "IPv4"}}).address_type)
"""
    assert _run(script) == "IPv4\n"


#: Below the shell there is no clock, no randomness, no I/O and no threads.
_BANNED: Final = frozenset(
    [
        "asyncio",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "shutil",
        "socket",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "uuid",
        "click",
        "rich",
        "yaml",
    ]
)
#: All that is taken from them.
_ALLOWED: Final = {
    "random": {"Random"},
    "socket": {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"},
    "sys": {"intern"},
}
#: And where alone: chance is in made-up histories, from a seed.
_ALONE_IN: Final = {
    "random": "endpointslice.simulate.clusters",
    "socket": "endpointslice.models",
}


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each module that is imported, and the name that is taken from it; "" for all of it."""
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield alias.name, ""
        elif isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                yield statement.module or "", alias.name


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(SHELL)])
def test_no_module_below_the_shell_can_do_io(name: str) -> None:
    for module, taken in _imports(_source(name)):
        root = module.partition(".")[0]
        if root in _BANNED:
            assert taken in _ALLOWED.get(root, set()), f"{module} {taken}"
            assert _ALONE_IN.get(root, name) == name


@pytest.mark.parametrize("name", MODULES)
def test_no_module_below_the_command_line_reads_the_clock_or_the_disk(name: str) -> None:
    for node in ast.walk(_source(name)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute):
                assert called.attr not in ("now", "utcnow", "today")
            elif isinstance(called, ast.Name):
                assert called.id not in ("open", "print", "input", "eval", "exec")
