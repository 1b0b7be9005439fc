"""Files of JSON or YAML -> models, and what of them could not be read.

One bad object never loses the others. What is known of it is kept, so that whoever plans can tell
which Services cannot be planned without it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, final

import attrs

from endpointslice import (
    Endpoints,
    EndpointSlice,
    ManifestError,
    Node,
    ObjectMeta,
    Pod,
    Service,
    decode_endpoints,
    decode_node,
    decode_pod,
    decode_service,
    decode_slice,
    is_known_kind,
    iter_objects,
)
from endpointslice.collector import collector_paused

__all__ = ["KINDS", "Manifest", "Manifests", "Objects", "Problem", "read_manifests", "read_objects"]

_Model = Service | Pod | Node | EndpointSlice | Endpoints
_DECODERS: Final[Mapping[str, Callable[[Mapping[str, Any]], _Model]]] = {
    "Service": decode_service,
    "Pod": decode_pod,
    "Node": decode_node,
    "EndpointSlice": decode_slice,
    "Endpoints": decode_endpoints,
}
#: The kinds that plans are made of.
KINDS: Final = frozenset(("Service", "Pod", "Node", "EndpointSlice"))

#: libyaml takes about a second and 40 MB for each megabyte, JSON a fiftieth of both.
_MAX_YAML_BYTES: Final = 50_000_000
_NO_KIND: Final = "is required, to tell what the object is"
#: The escape of one half of a character beyond the first 65,536. Alone it is no text.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


@final
@attrs.frozen(kw_only=True)
class Problem:
    """An object, or a whole file, that could not be read, and what is known of it.

    Attributes:
        source: Where it stands: the file, the path in it, and its kind and name.
        message: What is wrong with it, with the path within the object and the value.
        kind: Its kind; "" if it can be any.
        namespace: Its namespace; None if it can be any.
        name: Its name; None if it can be any.
        labels: Its labels; None if they can be any.
        is_foreign: It is no Kubernetes object at all, so nothing is missing without it.
    """

    source: str
    message: str
    kind: str = ""
    namespace: str | None = None
    name: str | None = None
    labels: Mapping[str, str] | None = None
    is_foreign: bool = False

    def __str__(self) -> str:
        return f"{self.source}: {self.message}"


@final
@attrs.frozen(kw_only=True)
class Objects:
    """What was read, each kind in the order of the input and each object once.

    Attributes:
        problems: What could not be read.
        ignored: How many objects of other kinds there were, by kind.
    """

    services: tuple[Service, ...]
    pods: tuple[Pod, ...]
    nodes: tuple[Node, ...]
    slices: tuple[EndpointSlice, ...]
    endpoints: tuple[Endpoints, ...]
    problems: tuple[Problem, ...]
    ignored: Mapping[str, int]


def read_objects(
    files: Iterable[str], *, stdin: BinaryIO, kinds: frozenset[str] = KINDS
) -> Objects:
    """Read all objects of some kinds from files.

    Args:
        files: Paths, `-` for stdin; one that is given twice is read once.
        stdin: Standard input, of bytes.
        kinds: The kinds to read; others are counted only.

    Returns:
        The objects. Two that have one name count once if they are equal or have the same uid and
        resourceVersion; if not, neither counts, and that is a problem.

    Complexity: O(n) for n bytes. A file of JSON takes about three times its size in memory.
    """
    reader = _Reader(kinds)
    with collector_paused():
        _read_documents(files, stdin, reader.problems, reader.add)
    return reader.result()


@final
@attrs.frozen(kw_only=True)
class Manifest:
    """An object as it stands in a file.

    Attributes:
        source: The file, and which document of several.
        path: Where in it: `items[4]`; "" for the whole.
        manifest: The object.
    """

    source: str
    path: str
    manifest: Mapping[str, Any]


@final
@attrs.frozen(kw_only=True)
class Manifests:
    """The objects of one kind as they stand in files, in the order of the input.

    Attributes:
        problems: What could not be read.
        ignored: How many objects of other kinds there were, by kind.
    """

    found: tuple[Manifest, ...]
    problems: tuple[Problem, ...]
    ignored: Mapping[str, int]


def read_manifests(files: Iterable[str], *, stdin: BinaryIO, kind: str) -> Manifests:
    """Read all objects of a kind from files, whatever is wrong with them.

    Args:
        files: As of `read_objects`.
        stdin: Standard input, of bytes.
        kind: The kind to read; others are counted only.

    Complexity: O(n) for n bytes.
    """
    found: list[Manifest] = []
    reader = _Reader(frozenset([kind]))

    def add(where: str, document: object) -> None:
        for path, manifest in reader.wanted(where, document):
            if manifest.get("kind") == kind:
                found.append(Manifest(source=where, path=path, manifest=manifest))
            else:
                source = f"{where}: {path}" if path else where
                words = str(ManifestError("kind", _NO_KIND, manifest.get("kind")))
                reader.problems.append(_problem(source, words, manifest))

    with collector_paused():
        _read_documents(files, stdin, reader.problems, add)
    rest = reader.result()
    return Manifests(found=tuple(found), problems=rest.problems, ignored=rest.ignored)


def _read_documents(
    files: Iterable[str],
    stdin: BinaryIO,
    problems: list[Problem],
    add: Callable[[str, object], None],
) -> None:
    """Give each document of files to `add`, with how to call it."""
    for file in dict.fromkeys(files):
        name = "stdin" if file == "-" else file
        try:
            for where, document in _documents(name, _read(file, stdin)):
                add(where, document)
        except _UnreadableError as error:
            problems.append(Problem(source=name, message=str(error)))
        except RecursionError:
            problems.append(Problem(source=name, message="is nested too deep"))


# --- bytes -> documents -----------------------------------------------------------------------


class _UnreadableError(Exception):
    """A file cannot be read at all; the message says why."""


def _read(file: str, stdin: BinaryIO) -> bytes:
    try:
        return stdin.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise _UnreadableError(f"cannot be read: {error.strerror}") from None


def _documents(name: str, data: bytes) -> Iterator[tuple[str, object]]:
    """Yield each document of a file, and how to call it. Nothing but whitespace is none."""
    # PowerShell writes UTF-16 where others write UTF-8.
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise _UnreadableError(
            f"is neither JSON nor YAML: byte {error.start} is {byte:#04x}, which is no UTF-8"
        ) from None
    size = len(data)
    del data  # the text alone can be all that memory holds
    is_json = text.startswith(("{", "["), _after_space(text, 0))
    documents = _json_documents(text) if is_json else _yaml_documents(text, size)
    count = 0
    for document in documents:
        if document is None:
            continue
        count += 1
        yield (name if count == 1 else f"{name} (document {count})"), document
    if not count:
        raise _UnreadableError("is empty")


def _json_documents(text: str) -> Iterator[object]:
    """Yield one JSON value after the other, as `cat a.json b.json` joins them."""
    decoder = json.JSONDecoder()
    position = _after_space(text, 0)
    while position < len(text):
        try:
            document, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
                raise _UnreadableError(f"is cut short: the JSON breaks off at {place}") from None
            raise _UnreadableError(f"is not JSON: {error.msg} at {place}") from None
        except ValueError as error:
            raise _UnreadableError(f"is not JSON: {error}") from None
        if _SURROGATE.search(text):
            _check_text(document)
        yield document
        position = _after_space(text, position)


def _check_text(document: object) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise _UnreadableError(f"is not JSON: {half} is half a character") from None


def _after_space(text: str, position: int) -> int:
    while text[position : position + 1].isspace():
        position += 1
    return position


def _yaml_documents(text: str, size: int) -> Iterator[object]:
    if size > _MAX_YAML_BYTES:
        raise _UnreadableError(
            f"is {size // 1_000_000} MB of YAML, which takes minutes and gigabytes to read; "
            f"above {_MAX_YAML_BYTES // 1_000_000} MB give it as JSON (kubectl get -o json)"
        )
    import yaml

    try:
        yield from yaml.load_all(text, Loader=_yaml_loader())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _UnreadableError(f"is neither JSON nor YAML: {error.problem}{place}") from None
    except yaml.reader.ReaderError as error:
        raise _UnreadableError(
            f"is neither JSON nor YAML: character {error.character:#04x} at {error.position}"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _UnreadableError(f"is neither JSON nor YAML: {error}") from None


def _yaml_loader() -> Any:
    """The safe loader, which reads what kubectl writes.

    Timestamps stay strings, as in JSON. So does 2001:10:20:30:40:50:51:52, which YAML 1.1 takes
    for a number in base 60.
    """
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [
                (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"
            ]
            for first, resolvers in base.yaml_implicit_resolvers.items()
        }

    def number(loader: Any, node: Any) -> Any:
        if ":" in node.value:
            return node.value
        whole = node.tag.endswith("int")
        return (base.construct_yaml_int if whole else base.construct_yaml_float)(loader, node)

    Loader.add_constructor("tag:yaml.org,2002:int", number)
    Loader.add_constructor("tag:yaml.org,2002:float", number)
    return Loader


# --- documents -> models ----------------------------------------------------------------------


class _Reader:
    """Collects models, each once, and problems."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds
        self.problems: list[Problem] = []
        self.ignored: dict[str, int] = {}
        #: By kind, namespace and name: the model, None if there are several, and its source.
        self.found: dict[tuple[str, str, str], tuple[_Model | None, str]] = {}

    def add(self, where: str, document: object) -> None:
        """Read all objects of a document."""
        for path, manifest in self.wanted(where, document):
            self._add_object(where, path, manifest)

    def wanted(self, where: str, document: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the objects of a document that are of these kinds, or of none, with their paths."""
        for path, manifest in iter_objects(document):
            if isinstance(manifest, ManifestError):
                foreign = not path
                problem = Problem(source=where, message=str(manifest), is_foreign=foreign)
                self.problems.append(problem)
                continue
            kind = manifest.get("kind")
            if isinstance(kind, str) and kind and not self._is_wanted(kind, manifest):
                self.ignored[kind] = self.ignored.get(kind, 0) + 1
            else:
                yield path, manifest

    def _add_object(self, where: str, path: str, manifest: Mapping[str, Any]) -> None:
        kind = manifest.get("kind")
        label = f"{kind} {_name_of(manifest)}".rstrip() if isinstance(kind, str) and kind else ""
        place = " ".join(filter(None, (path, f"({label})" if path and label else label)))
        source = f"{where}: {place}" if place else where
        try:
            if not isinstance(kind, str) or not kind:
                raise ManifestError("kind", _NO_KIND, kind)
            model = _DECODERS[kind](manifest)
            if not model.metadata.name:
                raise ManifestError("metadata.name", "is required")
        except ManifestError as error:
            self.problems.append(_problem(source, str(error), manifest))
            return
        self._keep(kind, model, source)

    def _is_wanted(self, kind: str, manifest: Mapping[str, Any]) -> bool:
        return kind in self.kinds and is_known_kind(manifest)

    def _keep(self, kind: str, model: _Model, source: str) -> None:
        meta = model.metadata
        name = (kind, meta.namespace, meta.name)
        if name not in self.found:
            self.found[name] = (model, source)
            return
        first, first_source = self.found[name]
        if first is None or _is_same(first, model):
            return
        self.found[name] = (None, first_source)
        versions = f"{_version(first.metadata)} and {_version(meta)}"
        self.problems.append(
            Problem(
                source=source,
                message=f"is another object of one name than {first_source} ({versions})",
                kind=kind,
                namespace=meta.namespace,
                name=meta.name,
                labels=meta.labels if first.metadata.labels == meta.labels else None,
            )
        )

    def result(self) -> Objects:
        models = [model for model, _ in self.found.values()]
        return Objects(
            services=tuple(model for model in models if isinstance(model, Service)),
            pods=tuple(model for model in models if isinstance(model, Pod)),
            nodes=tuple(model for model in models if isinstance(model, Node)),
            slices=tuple(model for model in models if isinstance(model, EndpointSlice)),
            endpoints=tuple(model for model in models if isinstance(model, Endpoints)),
            problems=tuple(self.problems),
            ignored=dict(sorted(self.ignored.items())),
        )


def _is_same(one: _Model, other: _Model) -> bool:
    a, b = one.metadata, other.metadata
    stored = bool(a.uid and a.resource_version)
    return one == other or (stored and (a.uid, a.resource_version) == (b.uid, b.resource_version))


def _version(meta: ObjectMeta) -> str:
    return f"uid {meta.uid or 'none'} at resourceVersion {meta.resource_version or 'none'}"


def _name_of(manifest: Mapping[str, Any]) -> str:
    meta = manifest.get("metadata")
    if not isinstance(meta, Mapping):
        return ""
    return "/".join(str(meta[part]) for part in ("namespace", "name") if meta.get(part))


def _problem(source: str, message: str, manifest: Mapping[str, Any]) -> Problem:
    """A problem with what can be told of its object all the same."""
    kind = manifest.get("kind")
    meta = manifest.get("metadata")
    # What an object plainly does not have is known too.
    absent = {"namespace": "", "labels": {}} if isinstance(meta, Mapping) else {}
    known = {**absent, **meta} if isinstance(meta, Mapping) else {}
    namespace, name, labels = (known.get(field) for field in ("namespace", "name", "labels"))
    return Problem(
        source=source,
        message=message,
        kind=kind if isinstance(kind, str) else "",
        namespace=namespace if isinstance(namespace, str) else None,
        name=name if isinstance(name, str) else None,
        labels=labels if isinstance(labels, Mapping) else None,
        is_foreign="kind" not in manifest and "metadata" not in manifest,
    )
