"""A request on objects, and what all such requests have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, final

import attrs

from endpointslice.testing.messages import StatusError, bad_request, invalid_options, number_in
from endpointslice.testing.resources import Resource
from endpointslice.testing.schema import strict_error
from endpointslice.testing.shapes import option_problems
from endpointslice.testing.store import key_of

#: What the server reads, in bytes.
_MAX_BODY: Final = 3 * 1024 * 1024
_OPTIONS: Final = {
    "create": "CreateOptions",
    "update": "UpdateOptions",
    "patch": "PatchOptions",
    "delete": "DeleteOptions",
    "deletecollection": "DeleteOptions",
}


@final
@attrs.frozen(kw_only=True)
class Call:
    """A request on objects of a resource.

    Attributes:
        verb: Kubernetes' word.
        resource: Of which resource.
        namespace: Where; "" for the whole cluster.
        name: Which; "" for a collection.
        subresource: "status", or "" for the object itself.
        query: The parameters.
        headers: With names in small letters.
        body: What was sent.
    """

    verb: str
    resource: Resource
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """Where the object stands in the store."""
        return key_of(self.namespace, self.name)

    @property
    def manager(self) -> str:
        """Under which name fields are owned: as it is told, or by the name of the client."""
        said = self.query.get("fieldManager", "")
        return said or self.headers.get("user-agent", "").partition("/")[0] or "unknown"


def decode_body(call: Call, body: bytes) -> Any:
    """What was sent.

    Raises:
        StatusError: It is too large, or no JSON.
    """
    if len(body) > _MAX_BODY:
        message = f"Request entity too large: limit is {_MAX_BODY}"
        raise StatusError(413, "RequestEntityTooLarge", message)
    kind = call.headers.get("content-type", "").partition(";")[0].strip()
    if kind.endswith(("protobuf", "cbor")):
        raise unsupported_media_type()
    try:
        return json.loads(body)
    except ValueError as error:
        shown = body.decode(errors="replace")
        is_cut = isinstance(error, json.JSONDecodeError) and error.pos >= len(shown.rstrip())
        words = "unexpected end of JSON input" if is_cut else str(error)
        raise bad_request(
            f"the object provided is unrecognized (must be of type {call.resource.kind}): "
            f"couldn't get version/kind; json parse error: {words} ({shown[:100]})"
        ) from None


def unsupported_media_type() -> StatusError:
    """The answer to a body that is not read here."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/json-patch+json, application/merge-patch+json, "
        "application/apply-patch+yaml"
    )
    return StatusError(415, "UnsupportedMediaType", message, {})


def not_found(resource: Resource, name: str) -> StatusError:
    """The answer if there is no such object."""
    message = f'{resource.qualified} "{name}" not found'
    return StatusError(404, "NotFound", message, resource.details(name))


def is_dry_run(call: Call, value: object) -> bool:
    """Whether all is to be done but the writing, by the value of `dryRun`."""
    values = value if isinstance(value, list) else [value] if value else []
    if not values:
        return False
    if values == ["All"]:
        return True
    message = f'Unsupported value: {json.dumps(values)}: supported values: "All"'
    raise invalid_options(_OPTIONS[call.verb], "dryRun", "FieldValueNotSupported", message)


def warnings_of(call: Call, manifest: Mapping[str, Any], unknown: list[str]) -> tuple[str, ...]:
    """What the server says besides; fields that it does not know are told or refused."""
    validation = call.query.get("fieldValidation", "Warn")
    if unknown and validation == "Strict":
        raise strict_error(call.resource, unknown)
    told = () if validation == "Ignore" else tuple(f'unknown field "{path}"' for path in unknown)
    if manifest.get("addressType") == "FQDN" and call.resource.kind == "EndpointSlice":
        told += ("spec.addressType: FQDN endpoints are deprecated",)
    return told


def check_same_object(call: Call, meta: Mapping[str, Any]) -> None:
    """Refuse an object that is not the one of the path."""
    name = meta.get("name")
    if name != call.name:
        raise bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )
    if call.resource.is_namespaced and meta.get("namespace", call.namespace) != call.namespace:
        raise bad_request(
            f"the namespace of the object ({meta['namespace']}) does not match the namespace "
            f"on the URL ({call.namespace})"
        )


def delete_options(call: Call) -> dict[str, Any]:
    """What stands in the body, or in the query."""
    options = decode_body(call, call.body) if call.body.strip() else {}
    if not isinstance(options, dict):
        raise bad_request("the object provided is unrecognized (must be of type DeleteOptions)")
    for name in ("gracePeriodSeconds", "propagationPolicy", "dryRun"):
        if name in call.query and options.get(name) is None:
            options[name] = call.query[name]
    if (seconds := number_in(options.get("gracePeriodSeconds"))) is not None:
        options["gracePeriodSeconds"] = seconds
    for field, detail in option_problems(options):
        raise bad_request(f"DeleteOptions: json: cannot unmarshal {field}: {detail}")
    return options
