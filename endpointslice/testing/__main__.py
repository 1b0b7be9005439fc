"""`python -m endpointslice.testing`: serve, until interrupted, to kubectl or to a controller."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from endpointslice.errors import ManifestError
from endpointslice.manifests import iter_objects
from endpointslice.testing.cluster import Cluster
from endpointslice.testing.messages import StatusError
from endpointslice.testing.server import ApiServer

__all__ = ["main"]

_USAGE: Final = 2


def _objects(paths: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    """The objects of files, each namespace before what is in it."""
    known: set[str] = set()
    for path in paths:
        for where, found in iter_objects(json.loads(path.read_bytes())):
            if isinstance(found, ManifestError):
                raise found.within(where)
            namespace = (found.get("metadata") or {}).get("namespace", "")
            if namespace and namespace not in known:
                known.add(namespace)
                yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            yield found


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the objects of files until interrupted.

    Returns:
        0; 2 if a file cannot be read, or holds what the server does not serve.
    """
    parser = argparse.ArgumentParser(
        prog="python -m endpointslice.testing",
        description="Serve a Kubernetes API on loopback, to test with.",
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="objects, as `kubectl get -o json`"
    )
    parser.add_argument(
        "--kubeconfig", type=Path, required=True, help="where to write how to find the server"
    )
    options = parser.parse_args(arguments)
    cluster = Cluster()
    try:
        cluster.load(_objects(options.files))
    except (OSError, ValueError, ManifestError, StatusError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return _USAGE
    with ApiServer(cluster) as server, suppress(KeyboardInterrupt):
        server.write_kubeconfig(options.kubeconfig)
        sys.stdout.write(f"{server.url}\nKUBECONFIG={options.kubeconfig} kubectl get all -A\n")
        sys.stdout.flush()
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
