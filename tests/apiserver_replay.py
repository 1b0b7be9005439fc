"""Replay what a real kube-apiserver was asked and saw, and compare each answer with ours.

    python tests/apiserver_replay.py

prints the table of docs/reference/testing.md, and what differs.

The recording (`data/apiserver/behaviour.jsonl`, Kubernetes 1.36) is a history: each case stands on
those before it. What was done in between without being recorded, to make an object or to let a
controller work, is done here in `HIDDEN`, as the events of the recorded watches tell it.

Only what cannot be equal is taken for equal: a uid, a resource version, and the random end of a
name stand for ours one to one; a time must be a time; a continue token must say the same; the
commit of the server's build is not looked at, nor the size of an object that is too large, for
neither the object nor its size is known. What the recording leaves out of a body ("... 1000
endpoints", all but the names of a list) is left out of ours.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from endpointslice.testing import Cluster, HttpRequest, HttpResponse

DATA: Final = Path(__file__).parent / "data" / "apiserver" / "behaviour.jsonl"
SLICES: Final = "/apis/discovery.k8s.io/v1/namespaces/behave/endpointslices"
HELD: Final = "/apis/discovery.k8s.io/v1/namespaces/dying/endpointslices"
MERGE: Final = "application/merge-patch+json"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_TIMES: Final = frozenset(["creationTimestamp", "deletionTimestamp", "time", "lastTransitionTime"])
_LEFT_OUT: Final = re.compile(r"\.\.\. (\d+) endpoints")


@attrs.frozen
class Outcome:
    """What became of a case."""

    number: int
    case: str
    request: str
    status: str
    differences: tuple[str, ...]


def load() -> list[dict[str, Any]]:
    return [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]


def a_slice(name: str, **changes: Any) -> dict[str, Any]:
    labels = changes.pop(
        "labels",
        {
            "kubernetes.io/service-name": "svc",
            "endpointslice.kubernetes.io/managed-by": "me.example.org",
        },
    )
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": labels, **changes.pop("metadata", {})},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        **changes,
    }


def endpoints(count: int) -> list[dict[str, Any]]:
    return [{"addresses": [f"10.1.{i // 250}.{i % 250 + 1}"]} for i in range(count)]


def several_invalid(_: int) -> list[dict[str, Any]]:
    return [
        {"addresses": [address] if address else []}
        for address in ("nope", "", "127.0.0.1", "10.0.0.1")
    ]


class Replay:
    """A server, and which of its names stand for which of the recording."""

    def __init__(self) -> None:
        # Most of the history fits into a second, which is how entries of managedFields are sorted.
        self.now = 1_763_865_772
        self.cluster = Cluster(namespaces=["behave"], clock=lambda: self.now)
        self.names: dict[str, str] = {}
        self.written: dict[str, list[dict[str, Any]]] = {}
        self.outcomes: list[Outcome] = []
        self.since = self.cluster.resource_version

    # --- asking ---------------------------------------------------------------------------

    def ask(
        self, method: str, target: str, body: Any = b"", content_type: str = "application/json"
    ) -> HttpResponse:
        return self.cluster.handle(HttpRequest.of(method, target, body, content_type=content_type))

    def do(self, method: str, target: str, body: Any = b"", content_type: str = "") -> None:
        answered = self.ask(method, target, body, content_type or "application/json")
        assert answered.status < 300, answered.body

    def request(self, case: Mapping[str, Any]) -> HttpResponse:
        recorded = case["request"]
        query = {name: self.ours(name, text) for name, text in (recorded["params"] or {}).items()}
        body = recorded.get("body")
        if isinstance(body, dict):
            expand = several_invalid if case["case"] == "create several invalid" else endpoints
            sent: Any = self.translate(body, expand)
        else:
            sent = body.encode() if isinstance(body, str) else b"" if body is None else body
        request = HttpRequest.of(
            recorded["method"],
            recorded["path"],
            sent,
            content_type=recorded["contentType"] or "",
        )
        return self.cluster.handle(attrs.evolve(request, query=query))

    def ours(self, name: str, text: str) -> str:
        """A parameter of the recording, as we have to send it."""
        if name == "continue" and text != "garbage":
            token = read_token(text)
            token["rv"] = int(self.names[str(token["rv"])])
            return write_token(token)
        if name == "resourceVersion":
            return self.names.get(text, text)
        return text

    def translate(self, value: Any, expand: Callable[[int], Any], key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self.translate(item, expand, name) for name, item in value.items()}
        if isinstance(value, list):
            if key == "endpoints" and value and isinstance(value[0], str):
                match = _LEFT_OUT.fullmatch(value[0])
                assert match is not None
                return expand(int(match[1]))
            return [self.translate(item, expand) for item in value]
        if key in ("uid", "resourceVersion"):
            return self.names.get(value, value)
        return value

    # --- comparing ------------------------------------------------------------------------

    def stands_for(self, theirs: str, ours: str) -> bool:
        """Whether a name of theirs is always the same one of ours, and the other way round."""
        if theirs not in self.names:
            if ours in self.names.values():
                return False
            self.names[theirs] = ours
        return self.names[theirs] == ours

    def compare(self, theirs: Any, ours: Any, path: str = "") -> list[str]:
        if isinstance(theirs, dict) and isinstance(ours, dict):
            found = [f"{path}.{name}: absent" for name in sorted(theirs.keys() - ours.keys())]
            found += [f"{path}.{name}: too much" for name in sorted(ours.keys() - theirs.keys())]
            for name in sorted(theirs.keys() & ours.keys()):
                found += self.compare_field(name, theirs, ours, f"{path}.{name}")
            return found
        if isinstance(theirs, list) and isinstance(ours, list):
            if theirs and isinstance(theirs[0], str) and _LEFT_OUT.fullmatch(theirs[0]):
                return [] if theirs == [f"... {len(ours)} endpoints"] else [path]
            if len(theirs) != len(ours):
                return [f"{path}: {len(ours)} and not {len(theirs)} items"]
            return [
                difference
                for i, (one, other) in enumerate(zip(theirs, ours, strict=True))
                for difference in self.compare(one, other, f"{path}[{i}]")
            ]
        if isinstance(theirs, str) and isinstance(ours, str) and self.is_same_text(theirs, ours):
            return []
        return [] if theirs == ours and type(theirs) is type(ours) else [f"{path}: {ours!r}"]

    def compare_field(
        self, name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], path: str
    ) -> list[str]:
        one, other = theirs[name], ours[name]
        if name in ("uid", "resourceVersion", "rv") and one and other:
            return [] if self.stands_for(one, other) else [f"{path}: {other} for {one}"]
        if name in _TIMES and isinstance(one, str) and _TIME.fullmatch(one):
            return [] if _TIME.fullmatch(str(other)) else [f"{path}: {other!r} is no time"]
        if name == "continue":
            token, mine = read_token(one), read_token(other)
            if token["rv"] >= 0 and self.stands_for(str(token["rv"]), str(mine["rv"])):
                mine["rv"] = token["rv"]
            return [] if token == mine else [f"{path}: {mine} for {token}"]
        if name == "name" and "generateName" in theirs and one != other:
            base = theirs["generateName"][:58]
            if re.fullmatch(re.escape(base) + "[bcdfghjklmnpqrstvwxz2456789]{5}", other):
                return [] if self.stands_for(one, other) else [f"{path}: {other} for {one}"]
        return self.compare(one, other, path)

    def is_same_text(self, theirs: str, ours: str) -> bool:
        """Whether they are the same, but for uids and versions that stand for one another."""
        if theirs == ours:
            return True
        words, mine = (re.split(r"([\w-]+)", text) for text in (theirs, ours))
        return len(words) == len(mine) and all(
            one == other or self.names.get(one) == other or self.is_generated(one, other)
            for one, other in zip(words, mine, strict=True)
        )

    @staticmethod
    def is_generated(theirs: str, ours: str) -> bool:
        """Whether both are a long name with a random end, of an object that was never made."""
        return len(theirs) == len(ours) == 63 and theirs[:58] == ours[:58]

    def compare_answer(self, case: Mapping[str, Any], answered: HttpResponse) -> list[str]:
        found = [] if case["status"] == answered.status else [f"status {answered.status}"]
        warnings = [text for text in [answered.headers.get("Warning")] if text]
        if case.get("warnings", []) != warnings:
            found.append(f"warnings {warnings}")
        if str(case.get("retryAfter") or "") != answered.headers.get("Retry-After", ""):
            found.append("Retry-After")
        body = answered.json()
        theirs = dict(case["body"])
        if "items" in theirs:
            found += self.compare_names(
                theirs.pop("items"), [item["metadata"]["name"] for item in body.pop("items")]
            )
            # The recording names the kind of a list alone.
            theirs["apiVersion"] = "discovery.k8s.io/v1"
        return found + self.compare(theirs, body)

    def compare_names(self, theirs: list[str], ours: list[str]) -> list[str]:
        """Names in order, where those with a random end are where theirs put them."""
        found = [] if ours == sorted(ours) else ["items are not in order"]
        return found + self.compare(sorted(self.names.get(name, name) for name in theirs), ours)

    def finish(self, number: int, case: Mapping[str, Any], found: list[str]) -> None:
        request = case.get("request")
        self.outcomes.append(
            Outcome(
                number,
                case["case"],
                request["method"] if request else "observation",
                str(case.get("status", "")),
                tuple(found),
            )
        )


def read_token(token: str) -> dict[str, Any]:
    text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    read: dict[str, Any] = json.loads(text)
    return read


def write_token(token: Mapping[str, Any]) -> str:
    text = json.dumps(token, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


# --- what was done in between -----------------------------------------------------------------


def make_finalized(replay: Replay) -> None:
    replay.do("POST", SLICES, a_slice("fin", metadata={"finalizers": ["example.org/f"]}))


def make_pol(replay: Replay) -> None:
    replay.do("POST", SLICES, a_slice("pol"))


def collect(replay: Replay) -> None:
    replay.now += 5
    replay.cluster.collect_garbage()


def make_dying(replay: Replay) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dying"}}
    held = a_slice("held", metadata={"finalizers": ["example.org/f"]})
    replay.do("POST", "/api/v1/namespaces", namespace)
    replay.do("POST", HELD, held)
    replay.names["7de256e9-c15e-4a0e-a721-3177bf84e9ef"] = replay.ask("GET", f"{HELD}/held").json()[
        "metadata"
    ]["uid"]
    replay.names["141"] = replay.cluster.resource_version
    replay.do("DELETE", "/api/v1/namespaces/dying")


def write_elsewhere(replay: Replay, times: int = 3) -> None:
    for i in range(times):
        replay.do(
            "PATCH",
            "/api/v1/namespaces/behave",
            {"metadata": {"annotations": {"n": f"{i}"}}},
            MERGE,
        )
    replay.do("PATCH", "/api/v1/namespaces/behave", {"metadata": {"annotations": None}}, MERGE)


def know_147(replay: Replay) -> None:
    replay.names["147"] = replay.cluster.resource_version


def restart(replay: Replay) -> None:
    replay.cluster.expire_watches()
    replay.names["164"] = replay.cluster.resource_version
    write_elsewhere(replay)


def compact(replay: Replay) -> None:
    replay.cluster.expire_watches(lists=True)


#: By the case before which it was done.
HIDDEN: Final[Mapping[str, Callable[[Replay], None]]] = {
    "DELETE with finalizer": make_finalized,
    "DELETE propagationPolicy=Foreground": make_pol,
    "LIST limit with resourceVersion=0": collect,
    "create in a terminating namespace": make_dying,
    "GET held slice in the terminating namespace (content deletion)": collect,
    "LIST resourceVersionMatch=Exact, older, served": know_147,
    "LIST continue token 3 writes old": write_elsewhere,
    "watch resourceVersion=1 (too old) after API server restart": restart,
    "LIST continue after etcd compaction": compact,
    "dangling ownerReference: GET 5 s later (garbage collector)": collect,
}

# --- observations -----------------------------------------------------------------------------


def version(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    theirs = {name: text for name, text in case["body"].items() if name != "gitCommit"}
    ours = replay.ask("GET", "/version").json()
    ours.pop("gitCommit")
    return replay.compare(theirs, ours)


def generated_names(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    names = [next(name for name in replay.written if name.startswith("svc-"))]
    for theirs in case["names"][1:]:
        answered = replay.ask("POST", SLICES, a_slice("", metadata={"generateName": "svc-"})).json()
        names.append(answered["metadata"]["name"])
        replay.stands_for(theirs, names[-1])
    form = re.compile("svc-[bcdfghjklmnpqrstvwxz2456789]{5}")
    return [name for name in [*names, *case["names"]] if not form.fullmatch(name)]


def big(sent: Callable[[], Any]) -> Callable[[Replay, Mapping[str, Any]], list[str]]:
    def observe(replay: Replay, case: Mapping[str, Any]) -> list[str]:
        answered = replay.ask("POST", SLICES, sent())
        theirs, ours = case["body"], answered.json()
        if "larger than max" in theirs["message"]:
            # How large it was is not recorded.
            ours["message"] = re.sub(r"\(\d+ vs", "(2126912 vs", ours["message"])
        found = [] if case["status"] == answered.status else [f"status {answered.status}"]
        return found + replay.compare(theirs, ours)

    return observe


def annotated(name: str, size: int) -> dict[str, Any]:
    return a_slice(name, metadata={"annotations": {"a": "x" * size}})


def many_addresses(length: int) -> dict[str, Any]:
    # A thousand endpoints with as much to say as the API allows.
    name = "n" * length
    return a_slice(
        "large",
        endpoints=[
            {**item, "zone": name, "targetRef": {"name": name, "fieldPath": name}}
            for item in endpoints(1000)
        ],
    )


def changed(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    """What a PUT changed of what the server keeps."""
    before, after = replay.written["a"][-2:]
    found = []
    if isinstance(case["before"], int):
        found += replay.compare(case["before"], before["generation"], "before")
        found += replay.compare(case["after"], after["generation"], "after")
        moved = before["resourceVersion"] != after["resourceVersion"]
        return found + replay.compare(case["rvChanged"], moved, "rvChanged")
    for part, meta in (("before", before), ("after", after)):
        ours = {name: meta[name] for name in case[part]}
        found += replay.compare(case[part], ours, part)
    if "creationTimestampKept" in case:
        if before["creationTimestamp"] != after["creationTimestamp"]:
            found.append("creationTimestamp")
        found += replay.compare(case["generateName"], after["generateName"], "generateName")
        found += replay.compare(case["annotations"], after.get("annotations"), "annotations")
    return found


def unchanged(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    before, after = replay.written["a"][-2:]
    moved = before["resourceVersion"] != after["resourceVersion"]
    return replay.compare(case["resourceVersionChanged"], moved)


def after_dry_put(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    return replay.compare(
        case["endpoints"], len(replay.ask("GET", f"{SLICES}/a").json()["endpoints"])
    )


def after_dry_delete(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    return replay.compare(case["stillThere"], replay.ask("GET", f"{SLICES}/a").status)


def watched(replay: Replay, query: str) -> list[dict[str, Any]]:
    answered = replay.ask("GET", f"{SLICES}?watch=true&{query}")
    assert answered.status == 200, answered.body
    return [json.loads(line) for line in answered.body.splitlines()]


def watch_all(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    return replay.compare(case["events"], watched(replay, f"resourceVersion={replay.since}"))


def watch_future(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    return replay.compare(case["events"], watched(replay, "resourceVersion=999999999"))


def watch_nonsense(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    return replay.compare_answer(
        case, replay.ask("GET", f"{SLICES}?watch=true&resourceVersion=abc")
    )


def watch_from_now(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    events = watched(replay, "timeoutSeconds=1")
    ours = [[item["type"], item["object"]["metadata"]["name"]] for item in events]
    return replay.compare(case["events"], ours[: len(case["events"])])


def watch_from_0(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    events = watched(replay, "resourceVersion=0")
    found = [item["type"] for item in events if item["type"] != "ADDED"]
    names = [item["object"]["metadata"]["name"] for item in events]
    return found + replay.compare_names([name for _, name in case["events"]], names)


def event_of(item: Mapping[str, Any]) -> dict[str, Any]:
    meta = item["object"]["metadata"]
    return {
        "type": item["type"],
        "name": meta.get("name"),
        "rv": meta.get("resourceVersion"),
        "labels": meta.get("labels"),
        "annotations": meta.get("annotations"),
        "code": item["object"].get("code"),
    }


def watch_labels(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    since = replay.cluster.resource_version
    replay.do("POST", SLICES, a_slice("w1", labels={"k": "yes"}))
    replay.do("POST", SLICES, a_slice("w2", labels={"k": "no"}))
    for name, patch in (
        ("w2", {"labels": {"k": "yes"}}),
        ("w1", {"annotations": {"x": "1"}}),
        ("w1", {"labels": {"k": "no"}}),
    ):
        replay.do("PATCH", f"{SLICES}/{name}", {"metadata": patch}, MERGE)
    replay.do("DELETE", f"{SLICES}/w1")
    replay.do("DELETE", f"{SLICES}/w2")
    events = watched(replay, f"resourceVersion={since}&labelSelector=k%3Dyes")
    found = replay.compare(case["events"], [event_of(item) for item in events])
    gone = [item["object"] for item in events if item["type"] == "DELETED"]
    return found + replay.compare(case["deletedObjectsWhole"], gone)


def watch_list(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    write_elsewhere(replay)
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    events = watched(replay, query)
    first = [event_of(item) for item in events[: len(case["events"])]]
    # The recording leaves the labels of these out.
    found = replay.compare(
        [
            {**item, "labels": ours["labels"]}
            for item, ours in zip(case["events"], first, strict=True)
        ],
        first,
    )
    found += replay.compare(case["last"], [event_of(events[-1])])
    return found + replay.compare(case["count"], len(events), "count")


def initial_without_match(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    return replay.compare_answer(
        case, replay.ask("GET", f"{SLICES}?watch=true&sendInitialEvents=true")
    )


def watch_too_old(replay: Replay, case: Mapping[str, Any]) -> list[str]:
    match = re.search(r"version: (\d+) ", case["events"][0]["object"]["message"])
    assert match is not None
    since = replay.names.get(match[1], match[1])
    return replay.compare(case["events"], watched(replay, f"resourceVersion={since}"))


OBSERVED: Final[Mapping[str, Callable[[Replay, Mapping[str, Any]], list[str]]]] = {
    "version": version,
    "generateName forms": generated_names,
    "create body > 3 MiB": big(lambda: annotated("body", 3 * 1024 * 1024)),
    "create annotations > 256 KiB": big(lambda: annotated("annbig", 256 * 1024)),
    "create object > 1.5 MiB (etcd request limit)": big(lambda: many_addresses(700)),
    "create object 1.5..2 MiB stored form (etcd server limit)": big(lambda: many_addresses(600)),
    "PUT changes spec": changed,
    "PUT minimal metadata keeps": changed,
    "PUT no-op": unchanged,
    "after PUT dryRun": after_dry_put,
    "after DELETE dryRun": after_dry_delete,
    "watch resourceVersion=1 (too old)": watch_all,
    "watch resourceVersion from the future": watch_future,
    "watch resourceVersion not a number": watch_nonsense,
    "watch without resourceVersion, timeoutSeconds=1": watch_from_now,
    "watch labelSelector k=yes: enter=ADDED, leave=DELETED": watch_labels,
    "watch sendInitialEvents (WatchList)": watch_list,
    "sendInitialEvents without resourceVersionMatch": initial_without_match,
    "watch resourceVersion=1 (too old) after API server restart": watch_too_old,
    "watch resourceVersion of before the restart (147, now 170)": watch_too_old,
    "watch resourceVersion=0": watch_from_0,
}


def replay_all() -> list[Outcome]:
    """Every case, in order."""
    replay = Replay()
    for number, case in enumerate(load()):
        name = case["case"]
        if hidden := HIDDEN.get(name):
            hidden(replay)
        if "request" in case:
            answered = replay.request(case)
            found = replay.compare_answer(case, answered)
            if answered.status < 300 and case["request"]["method"] in ("POST", "PUT", "PATCH"):
                meta = answered.json()["metadata"]
                replay.written.setdefault(meta["name"], []).append(meta)
        elif name.startswith("generation: "):
            found = changed(replay, case)
        else:
            found = OBSERVED[name](replay, case)
        replay.finish(number, case, found)
    return replay.outcomes


def table(outcomes: list[Outcome]) -> str:
    """The table of the documentation."""
    lines = ["| Case | Asked | Answer | As recorded |", "| --- | --- | --- | --- |"]
    for item in outcomes:
        same = "no" if item.differences else "yes"
        case = item.case.replace("|", "\\|")
        lines.append(f"| {case} | {item.request} | {item.status} | {same} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    done = replay_all()
    sys.stdout.write(table(done) if "--table" in sys.argv else "")
    for item in done:
        if item.differences:
            sys.stderr.write(f"{item.number} {item.case}: {'; '.join(item.differences)[:600]}\n")
    same = sum(not item.differences for item in done)
    sys.stderr.write(f"{same} of {len(done)} as recorded\n")
