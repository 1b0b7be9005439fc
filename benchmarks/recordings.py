"""The recordings of a real cluster -> the traces docs/examples/traces/real-*.json.gz.

    python -m benchmarks.recordings FOLDER [DESTINATION]

FOLDER holds `rollout/pods.jsonl.gz`, `fragmented/steps.jsonl.gz` and
`fragmented/watch.counts.json`.

**real-rollout-one-bucket** and **real-rollout-many-buckets** are two roll-outs of 200 Pods, one
right after the other. Recorded is every event that a watcher of the Pods saw, with its moment
and the Pod's uid, node and ReplicaSet. IPs, zones and names were not. Filled in are one zone for
all, and names as a ReplicaSet gives them: `web-`, its recorded hash, and what tells its Pods
apart, which is a number here, in the order in which they were seen. Each begins with the Pods as
they stood, a second before its first event. The first ends when the last Pod is gone that it
asked to go, and leaves out what the second one has begun by then.

**real-scale-down** is 1,000 Pods scaled to 120 in ten steps. Recorded are the endpoints before
and after each step, and how long it took: so it is known who went in which step, with name, uid,
node and zone. When within the step is filled in. They are asked to go in the order of the
ReplicaSet rule, fullest node first and then by uid, as if each had turned ready in a second of
its own; as fast as the controller's default rate allows, 20 a second after a burst of 30; and
are gone 1.1 to 4.2 seconds later, as long as the Pods of the roll-outs took. The steps then last
as long as the recorded ones, and the reference's rule, at a sync each half second, writes 877
slices: the real controller wrote 884, ten at most in each half second, as its own rate allows.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from endpointslice.models import LABEL_ZONE
from endpointslice.simulate.clusters import Pod, choose_victims
from endpointslice.simulate.recordings import trace_from_watch
from endpointslice.simulate.traces import Trace, encode_trace

__all__ = ["main", "roll_out", "scale_down"]

Event = dict[str, Any]

#: kube-controller-manager's --kube-api-qps and --kube-api-burst.
_REQUESTS_PER_SECOND: Final = 20
_BURST: Final = 30
#: How long Pods terminated in the roll-outs, in milliseconds.
_TERMINATE: Final = (1_100, 4_200)


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def _event(
    at: float, kind: str, *, uid: str, name: str, node: str, zone: str = "", state: str
) -> Event:
    """Return an event of a watch of Pods; `state` is of a trace, or "" if it has no endpoint."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "prod", "name": name, "uid": uid, "labels": {LABEL_ZONE: zone}},
        "spec": {"nodeName": node},
        "status": {
            "podIP": "10.0.0.1" if state else "",
            "conditions": [{"type": "Ready", "status": str(state == "r")}],
        },
    }
    if state == "t":
        manifest["metadata"]["deletionTimestamp"] = "2026-11-23T03:00:00Z"  # type: ignore[index]
    return {"at": at, "type": kind, "object": manifest}


# --- the roll-outs ----------------------------------------------------------------------------


def _recorded_state(line: Event) -> str:
    """What the endpoint of a Pod says: it has one from when it runs until it has ended."""
    if line["type"] == "DELETED" or line["phase"] != "Running":
        return ""
    if line["deletionTimestamp"]:
        return "t"
    return "r" if line["readySince"] else "n"


def roll_out(folder: Path, run: str, name: str) -> Trace:
    """Return one of the two roll-outs."""
    lines = _lines(folder / "rollout/pods.jsonl.gz")
    numbers = {uid: i for i, uid in enumerate(dict.fromkeys(line["uid"] for line in lines))}
    runs = [line["run"] for line in lines]
    begin = runs.index(run)
    end = len(runs) - runs[::-1].index(run)
    at = lines[begin]["t"]
    before = {line["uid"]: line for line in lines[:begin]}
    going = {line["uid"] for line in lines[:end] if line["deletionTimestamp"]}
    after = [line for line in lines[end:] if line["uid"] in going]
    told = [
        *({**line, "t": at - 1} for line in before.values()),
        *lines[begin:end],
        *after,
    ]
    return trace_from_watch(
        (
            _event(
                line["t"],
                line["type"],
                uid=line["uid"],
                name=f"web-{line['replicaset']}-{numbers[line['uid']]:05d}",
                node=line["node"] or "",
                state=_recorded_state(line),
            )
            for line in told
        ),
        name=name,
    )


# --- the scale-down ---------------------------------------------------------------------------


def scale_down(folder: Path, name: str) -> Trace:
    """Return the scale-down in ten steps."""
    return trace_from_watch(_scale_down(folder / "fragmented"), name=name)


def _scale_down(folder: Path) -> Iterator[Event]:
    steps = _lines(folder / "steps.jsonl.gz")
    seconds = [0.0, *(step["seconds"] for step in _counts(folder))]
    rng = Random(0)
    living = _endpoints(steps[0])
    for endpoint in living.values():
        yield _event(0, "ADDED", state="r", **endpoint)
    start = 1_000
    for step, length in zip(steps, seconds, strict=True):
        left = _endpoints(step)
        victims = _in_order(living, [uid for uid in living if uid not in left], start, rng)
        told: list[tuple[int, str, str]] = []
        for i, uid in enumerate(victims):
            asked = start + max(0, i - _BURST + 1) * 1_000 // _REQUESTS_PER_SECOND
            told.append((asked, uid, "t"))
            told.append((asked + rng.randrange(*_TERMINATE), uid, ""))
        for at, uid, state in sorted(told):
            yield _event(at / 1_000, "MODIFIED", state=state, **living[uid])
        living = left
        start += round(length * 1_000)
        assert not told or max(told)[0] < start, "a step takes as long as was recorded"


def _counts(folder: Path) -> list[Any]:
    counts: list[Any] = json.loads((folder / "watch.counts.json").read_text())["steps"]
    return counts


def _endpoints(step: Event) -> dict[str, dict[str, str]]:
    """Return what is known of each endpoint, by uid, in order of uid."""
    found = {
        endpoint["targetRef"]["uid"]: {
            "uid": endpoint["targetRef"]["uid"],
            "name": endpoint["targetRef"]["name"],
            "node": endpoint["nodeName"],
            "zone": endpoint["zone"],
        }
        for item in step["slices"]["items"]
        for endpoint in item["endpoints"]
    }
    return dict(sorted(found.items()))


def _in_order(
    living: dict[str, dict[str, str]], victims: list[str], now: int, rng: Random
) -> list[str]:
    """Return a step's victims as the ReplicaSet rule orders them, as far as it can be known."""
    held = Counter(endpoint["node"] for endpoint in living.values())
    nodes = {node: i for i, node in enumerate(sorted(held))}
    pods = [
        Pod(
            number=i,
            uid=uid,
            node=nodes[living[uid]["node"]],
            # One power of two of an age, and a second for each.
            ready_since=now - 1_500_000 + 1_000 * i,
        )
        for i, uid in enumerate(victims)
    ]
    ranks = {nodes[node]: count for node, count in held.items()}
    return [pod.uid for pod in choose_victims(pods, len(pods), ranks=ranks, now=now, rng=rng)]


# --- the files --------------------------------------------------------------------------------


def main(folder: Path, destination: Path) -> None:
    for trace in (
        roll_out(folder, "A-one-bucket", "real-rollout-one-bucket"),
        roll_out(folder, "B-many-buckets", "real-rollout-many-buckets"),
        scale_down(folder, "real-scale-down"),
    ):
        text = json.dumps(encode_trace(trace), separators=(",", ":"))
        path = destination / f"{trace.name}.json.gz"
        # No moment and no file name, so that the same trace is the same file.
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
        print(f"{path}: {len(trace.changes)} changes, {trace.duration / 1_000:.1f} s")


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    main(arguments[0], arguments[1] if arguments[1:] else Path("docs/examples/traces"))
