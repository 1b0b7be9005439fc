"""Write the EndpointSlices of one namespace from its ExternalBackends, with no framework."""

import json
import sys
import time
from collections import defaultdict

from kubernetes import client, config, watch
from wanted import MANAGED_BY, wanted

from endpointslice import decode_objects, reconcile, slice_template
from endpointslice.clients import apply_plan_to, list_slices


def sync(api: client.ApiClient, namespace: str) -> tuple[bool, str]:
    """Make all slices right; whether they are, and at which version the backends were read."""
    custom, core = client.CustomObjectsApi(api), client.CoreV1Api(api)
    asked = custom.list_namespaced_custom_object("example.com", "v1", namespace, "externalbackends")
    backends = defaultdict(list)
    for item in asked["items"]:
        if "deletionTimestamp" not in item["metadata"]:
            backends[item["spec"]["service"]].append(item)
    answer = core.list_namespaced_service(namespace, _preload_content=False)
    stored = list_slices(api, namespace, managed_by=MANAGED_BY).slices
    is_done = True
    for service in decode_objects([json.loads(answer.data)]).services:
        if service.metadata.deletion_timestamp:
            continue
        found = wanted(backends[service.metadata.name])
        for name, problems in found.problems.items():
            print(f"{name}:", *problems, sep="\n  ", flush=True)
        template = slice_template(service, managed_by=MANAGED_BY)
        plan = reconcile(found.groups, stored, template=template)
        result = apply_plan_to(api, plan, field_manager=MANAGED_BY)
        for operation in result.results:
            print(operation, flush=True)
        is_done = is_done and result.is_complete
    return is_done, asked["metadata"]["resourceVersion"]


def main(namespace: str) -> None:
    """Sync for ever: when an ExternalBackend has changed, every minute, and after a failure."""
    config.load_config()
    api = client.ApiClient()
    follow = client.CustomObjectsApi(api).list_namespaced_custom_object
    what = ("example.com", "v1", namespace, "externalbackends")
    while True:
        try:
            is_done, version = sync(api, namespace)
            since = {"resource_version": version, "timeout_seconds": 60}
            if is_done:
                next(watch.Watch().stream(follow, *what, **since), None)
                continue
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            print(type(error).__name__, error, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1])
