"""`endpointslice validate`: what it reads, prints, refuses, and how it exits."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.test_cli import Write, run, service, stored, write

__all__ = ["write"]


def validate(*arguments: str, status: int = 0) -> str:
    result = run("validate", *arguments)
    assert result.exit_code == status, result.output
    return result.stdout


def wrong(name: str = "web-a", **fields: Any) -> dict[str, Any]:
    """A slice with an address that is none."""
    found = stored(name)
    found["endpoints"] = [{"addresses": ["10.0.0.1", "10.0.0.300"]}]
    return {**found, **fields}


def test_silence_is_consent(write: Write) -> None:
    assert validate(write(stored("web-a"), service())) == ""


def test_each_problem_is_a_line_of_file_path_and_message(write: Write) -> None:
    dump = write(service(), stored("web-b"), wrong(addressType="IPv6"))
    assert validate(dump, status=1).splitlines() == [
        f"{dump}:items[2].endpoints[0].addresses: must be IPv6, got '10.0.0.1'",
        f"{dump}:items[2].endpoints[0].addresses[1]: must be an IP address, got '10.0.0.300'",
    ]


def test_a_slice_that_could_not_be_decoded_is_judged(write: Write) -> None:
    dump = write(wrong(addressType="IP", metadata=None))
    assert [line.partition(": ")[0] for line in validate(dump, status=1).splitlines()] == [
        f"{dump}:items[0].metadata.name",
        f"{dump}:items[0].metadata.namespace",
        f"{dump}:items[0].addressType",
    ]


def test_kubectl_fills_the_namespace_in(write: Write) -> None:
    bare = stored("web-a")
    del bare["metadata"]["namespace"]
    assert validate(write(bare)) == ""
    assert "metadata: must be an object" in validate(write(wrong(metadata=[])), status=1)


def test_documents_of_a_file_are_told_apart(tmp_path: Any) -> None:
    path = tmp_path / "slices.yaml"
    path.write_text(yaml.safe_dump_all([stored("web-a"), wrong()]))
    assert validate(str(path), status=1) == (
        f"{path} (document 2):endpoints[0].addresses[1]: must be an IP address, got '10.0.0.300'\n"
    )


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_programs_get_what_the_server_says(write: Write, output: str) -> None:
    dump = write(stored("web-b"), wrong())
    text = validate(dump, "-o", output, status=1)
    assert (json.loads if output == "json" else yaml.safe_load)(text) == {
        "violations": [
            {
                "source": dump,
                "path": "items[1]",
                "namespace": "shop",
                "name": "web-a",
                "field": "endpoints[0].addresses[1]",
                "type": "FieldValueInvalid",
                "detail": "must be an IP address",
                "value": "10.0.0.300",
            }
        ],
        "slices": 2,
        "errors": [],
    }


def test_values_that_are_no_plain_json_are_told_as_text(tmp_path: Any) -> None:
    path = tmp_path / "slices.yaml"
    path.write_text(
        "kind: EndpointSlice\naddressType: !!binary aGk=\n"
        f"ports: 0x{'f' * 5000}\nendpoints: {{1: 2}}\nmetadata: 5\n"
    )
    found = json.loads(validate(str(path), "-o", "json", status=1))["violations"]
    assert {item["field"]: item["value"] for item in found} == {
        "metadata": 5,
        "addressType": "b'hi'",
        "ports": "a int that is too big to be shown",
        "endpoints": "{1: 2}",
    }
    assert {(item["namespace"], item["name"]) for item in found} == {("", "")}


def test_names_are_those_of_slices_that_would_be_refused(write: Write) -> None:
    dump = write(wrong("web-z", addressType="IPv6"), stored("web-b"), wrong("web-c"))
    assert validate(dump, "-o", "name", status=1) == "shop/web-z\nshop/web-c\n"


def test_what_cannot_be_read_is_said_and_the_rest_is_judged(write: Write) -> None:
    result = run("validate", write(wrong(), {"metadata": {}}, 5))
    assert result.exit_code == 2
    assert "addresses[1]: must be an IP address" in result.stdout
    assert "items[1]: kind: is required" in result.stderr
    assert "items[2]: must be an object" in result.stderr


def test_there_must_be_a_slice(write: Write, tmp_path: Any) -> None:
    result = run("validate", write(service()))
    assert result.exit_code == 2
    assert "there is no EndpointSlice in the input (ignored: 1 Service)" in result.stderr
    path = tmp_path / "broken.json"
    path.write_text("{")
    assert "is cut short" in run("validate", str(path)).stderr
    assert run("validate").exit_code == 2
