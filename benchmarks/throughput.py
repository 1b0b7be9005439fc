"""How fast a plan is carried out: `python -m benchmarks.throughput [--markdown]`.

A cold create: 100,000 endpoints, 1,000 slices, one request after the other, through each client
to an API server of a process of its own, over HTTP on loopback. For each client: slices in a
second, and which part of the time the library takes. Its rules (what to send, what the answer
means) are timed with a client that answers at once; its adapter (JSON out, JSON in) by itself.
Nothing is gated.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Final

import kr8s
import kr8s.asyncio
import kubernetes.aio.config
import kubernetes.config
import kubernetes_asyncio.config
import lightkube

from benchmarks.timing import table
from endpointslice import (
    Endpoint,
    EndpointGroup,
    EndpointPort,
    GroupKey,
    ObjectMeta,
    ObjectReference,
    Plan,
    SliceTemplate,
    reconcile,
)
from endpointslice.clients import (
    Answer,
    ApplyResult,
    SliceRequest,
    apply_plan_to,
    apply_plan_to_async,
)
from endpointslice.clients.wire import answer_of, call_of
from endpointslice.testing import ApiServer, Cluster

__all__ = ["main", "throughput"]


def _plan(endpoints: int) -> Plan:
    """A Service that is created with all its Pods."""
    template = SliceTemplate(
        metadata=ObjectMeta(
            namespace="shop",
            generate_name="web-",
            labels={
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "bench.example.com",
            },
        )
    )
    key = GroupKey(address_type="IPv4", ports=[EndpointPort(name="http", port=8080)])
    made = [
        Endpoint(
            [f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"],
            node_name=f"node-{i % 500}",
            zone=f"zone-{i % 3}",
            target_ref=ObjectReference("Pod", "shop", f"web-{i:06d}", f"uid-{i:06d}"),
        )
        for i in range(endpoints)
    ]
    return reconcile([EndpointGroup(key=key, endpoints=made)], [], template=template)


def _serve(pipe: Connection) -> None:
    with ApiServer(Cluster(namespaces=["shop"])) as server, tempfile.TemporaryDirectory() as folder:
        pipe.send(str(server.write_kubeconfig(Path(folder) / "config")))
        pipe.recv()


def _kubernetes(config: str, plan: Plan) -> ApplyResult:
    with kubernetes.config.new_client_from_config(config) as client:
        return apply_plan_to(client, plan)


def _aio(config: str, plan: Plan) -> ApplyResult:
    async def run() -> ApplyResult:
        async with await kubernetes.aio.config.new_client_from_config(config) as client:
            return await apply_plan_to_async(client, plan)

    return asyncio.run(run())


def _kubernetes_asyncio(config: str, plan: Plan) -> ApplyResult:
    async def run() -> ApplyResult:
        async with await kubernetes_asyncio.config.new_client_from_config(config) as client:
            return await apply_plan_to_async(client, plan)

    return asyncio.run(run())


def _lightkube(config: str, plan: Plan) -> ApplyResult:
    with lightkube.Client(lightkube.KubeConfig.from_file(config)) as client:
        return apply_plan_to(client, plan)


def _lightkube_async(config: str, plan: Plan) -> ApplyResult:
    async def run() -> ApplyResult:
        client = lightkube.AsyncClient(lightkube.KubeConfig.from_file(config))
        try:
            return await apply_plan_to_async(client, plan)
        finally:
            await client.close()

    return asyncio.run(run())


def _kr8s(config: str, plan: Plan) -> ApplyResult:
    return apply_plan_to(kr8s.api(kubeconfig=config), plan)


def _kr8s_async(config: str, plan: Plan) -> ApplyResult:
    async def run() -> ApplyResult:
        return await apply_plan_to_async(await kr8s.asyncio.api(kubeconfig=config), plan)

    return asyncio.run(run())


_CLIENTS: Final[dict[str, Callable[[str, Plan], ApplyResult]]] = {
    "kubernetes": _kubernetes,
    "kubernetes.aio": _aio,
    "kubernetes_asyncio": _kubernetes_asyncio,
    "lightkube": _lightkube,
    "lightkube, async": _lightkube_async,
    "kr8s": _kr8s,
    "kr8s, async": _kr8s_async,
}


class _AtOnce:
    """A client that answers at once with what a server would say, all of it made before."""

    def __init__(self, plan: Plan) -> None:
        self.requests: list[SliceRequest] = []
        self.answers: list[Answer] = []
        apply_plan_to(self, plan)
        self.answers = [_created(request, i) for i, request in enumerate(self.requests)]

    def send(self, request: SliceRequest) -> Answer:
        if not self.answers:
            self.requests.append(request)
            return Answer(status=201)
        return self.answers.pop(0)


def _created(request: SliceRequest, number: int) -> Answer:
    manifest: dict[str, Any] = dict(request.manifest or {})
    named = {"name": f"web-{number}", "uid": f"u-{number}", "resourceVersion": str(number + 1)}
    return Answer(status=201, body={**manifest, "metadata": {**manifest["metadata"], **named}})


def _time_rules(plan: Plan, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        client = _AtOnce(plan)
        began = time.process_time()
        apply_plan_to(client, plan)
        times.append(time.process_time() - began)
    return median(times)


def _time_adapter(plan: Plan, rounds: int) -> float:
    requests = _AtOnce(plan).requests
    times = []
    for _ in range(rounds):
        began = time.process_time()
        for request in requests:
            content = call_of(request).content
            answer_of(201, None, content or b"")
        times.append(time.process_time() - began)
    return median(times)


def _memory(plan: Plan) -> tuple[int, int]:
    """Bytes for each slice that are held at most while a plan is carried out, and after it."""

    class Echo:
        def send(self, request: SliceRequest) -> Answer:
            return answer_of(201, None, call_of(request).content or b"")

    tracemalloc.start()
    result = apply_plan_to(Echo(), plan)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(result.results) == len(plan.operations)
    return peak // len(plan.operations), held // len(plan.operations)


def _carried_out(run: Callable[[str, Plan], ApplyResult], plan: Plan) -> float:
    """Seconds of wall time that a plan takes through a client."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,), daemon=True)
    server.start()
    try:
        config = ours.recv()
        began = time.perf_counter()
        result = run(config, plan)
        took = time.perf_counter() - began
        result.raise_for_failure()
    finally:
        ours.send(None)
        server.join(30)
    return took


def throughput(endpoints: int, rounds: int, *, markdown: bool) -> str:
    """Return the table."""
    plan = _plan(endpoints)
    slices = len(plan.operations)
    rules, adapter = _time_rules(plan, rounds), _time_adapter(plan, rounds)
    rows = []
    for name, run in _CLIENTS.items():
        took = median(_carried_out(run, plan) for _ in range(rounds))
        rows.append(
            (
                name,
                f"{took:.2f} s",
                f"{slices / took:,.0f}",
                f"{rules / took:.1%}",
                f"{adapter / took:.1%}",
            )
        )
    peak, held = _memory(plan)
    heads = ("client", f"{slices:,} slices", "slices a second", "rules", "adapter: JSON out and in")
    times = f"Rules {rules * 1000:.0f} ms, adapter {adapter * 1000:.0f} ms of CPU time."
    memory = f"Memory for a slice: {held:,} bytes in the result, {peak:,} at the peak."
    return "\n".join((table(heads, rows, markdown=markdown), "", times, memory))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--n", type=int, default=100_000, help="number of endpoints")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    options = parser.parse_args()
    print(throughput(options.n, options.rounds, markdown=options.markdown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
