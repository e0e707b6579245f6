import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.arrival import read_arrival
from gateway.fhir.classify import MAX_DEPTH
from gateway.model.errors import Malformed

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "fhir"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["resourceType", "entry", "resource", "type", "meta", "id", "fullUrl"])
            | st.text(),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def test_a_service_request_is_one_order(wire: Callable[[str], bytes]) -> None:
    arrival = read_arrival(wire("contained"))
    assert (arrival.type, arrival.label) == ("ServiceRequest", "ServiceRequest")
    assert [order["id"] for order in arrival.orders] == ["21"]


@pytest.mark.parametrize(
    ("name", "message_type", "ids"),
    [
        ("collection", "Bundle/collection", ["22"]),
        ("transaction", "Bundle/transaction", ["23", "24"]),
        ("message", "Bundle/message", ["26"]),
        ("patient", "Patient", []),
    ],
)
def test_a_bundle_of_any_type_gives_its_orders(
    wire: Callable[[str], bytes], name: str, message_type: str, ids: list[str]
) -> None:
    arrival = read_arrival(wire(name))
    assert arrival.label == message_type
    assert [order["id"] for order in arrival.orders] == ids


def test_of_several_versions_of_an_order_the_newest_counts(wire: Callable[[str], bytes]) -> None:
    bundle = json.loads(wire("history"))
    for entries in (bundle["entry"], bundle["entry"][::-1]):
        (order,) = read_arrival(json.dumps({**bundle, "entry": entries}).encode()).orders
        assert (order["meta"]["versionId"], order["status"]) == ("3", "revoked")


@pytest.mark.parametrize(("kind", "kept"), [("history", "active"), ("collection", "revoked")])
def test_versions_that_say_nothing_of_their_age_are_taken_by_their_place(kind: str, kept: str) -> None:
    entries = [
        {"resource": {"resourceType": "ServiceRequest", "id": "1", "status": status}}
        for status in ("active", "revoked")
    ]
    (order,) = read_arrival(
        json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()
    ).orders
    assert order["status"] == kept


HERE, THERE = "https://ehr.example/fhir/ServiceRequest/1", "https://other.example/fhir/ServiceRequest/1"


@pytest.mark.parametrize("is_newest", [True, False])
@pytest.mark.parametrize("urls", [("", HERE), (HERE, ""), ("", ""), (HERE, f"{HERE}/_history/1")])
def test_a_deletion_and_the_version_before_it_are_of_one_resource_whatever_their_full_urls(
    urls: tuple[str, str], is_newest: bool
) -> None:
    gone = {"fullUrl": urls[0], "request": {"method": "DELETE", "url": "ServiceRequest/1"}}
    there = {"fullUrl": urls[1], "resource": {"resourceType": "ServiceRequest", "id": "1"}}
    entries = [gone, there] if is_newest else [there, gone]
    arrival = read_arrival(
        json.dumps({"resourceType": "Bundle", "type": "history", "entry": entries}).encode()
    )
    assert (len(arrival.orders), arrival.withdrawn) == ((0, ("ServiceRequest/1",)) if is_newest else (1, ()))


def test_orders_of_two_servers_are_two_though_their_ids_are_alike() -> None:
    order = {"resourceType": "ServiceRequest", "id": "1"}
    entries = [{"fullUrl": url, "resource": order} for url in (HERE, THERE)]
    raw = json.dumps({"resourceType": "Bundle", "type": "history", "entry": entries}).encode()
    assert len(read_arrival(raw).orders) == 2


def test_orders_without_an_id_are_never_taken_for_one_another() -> None:
    entry = {"fullUrl": "urn:uuid:0", "resource": {"resourceType": "ServiceRequest"}}
    raw = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": [entry, entry]}).encode()
    assert len(read_arrival(raw).orders) == 2


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read_arrival(b'\xef\xbb\xbf{"resourceType":"Patient"}').type == "Patient"


def test_a_decimal_keeps_its_zeros() -> None:
    value = read_arrival(b'{"resourceType":"Observation","valueQuantity":{"value":52.10}}').resource
    assert value["valueQuantity"]["value"] == Decimal("52.10")
    assert str(value["valueQuantity"]["value"]) == "52.10"


@pytest.mark.parametrize(
    "raw",
    [
        b" ",
        b"not json",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"a":1}',
        b'{"resourceType":1}',
        b'{"resourceType":""}',
        b'{"resourceType":"../x"}',
        b'{"resourceType":"' + b"A" * 65 + b'"}',
        b'{"resourceType":"Patient","x":NaN}',
        b'{"resourceType":"Patient","x":1e9999999999999999999}',
        b'{"resourceType":"Patient","x":' + b"9" * 5000 + b"}",
        b'{"resourceType":"Patient","x":"\\u0000"}',
        b'{"resourceType":"Patient","x":"\\ud800"}',
        b'{"resourceType":"Patient","\\udfff":1}',
        b'{"resourceType":"Patient"}\xff',
        '{"resourceType":"Patient"}'.encode("utf-16"),
        b'{"resourceType":"Patient"',
        b'{"resourceType":"Patient","x":' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}",
        b'{"resourceType":"Patient","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 1_000_000,
    ],
)
def test_what_is_no_fhir_resource_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_arrival(raw)


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = MAX_DEPTH - 2
    raw = b'{"resourceType":"Patient","x":' + b"[" * depth + b"]" * depth + b"}"
    assert read_arrival(raw).type == "Patient"


def test_a_surrogate_pair_is_a_character() -> None:
    arrival = read_arrival(b'{"resourceType":"Patient","x":"\\ud83d\\ude00"}')
    assert arrival.resource["x"] == "\U0001f600"


@given(JSON)
def test_any_json_is_read_or_malformed(tree: Any) -> None:
    for wrapped in (
        tree,
        {"resourceType": "Bundle", "entry": tree},
        {"resourceType": "Bundle", "entry": [tree]},
    ):
        try:
            read_arrival(json.dumps(wrapped).encode())
        except Malformed:
            continue


@given(st.binary())
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    try:
        read_arrival(raw)
    except Malformed:
        return


@pytest.mark.corpora
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpora are not here")
def test_whatever_others_wrote_is_read_or_malformed() -> None:
    kinds = set()
    orders = 0
    for path in sorted(path for path in CORPUS.rglob("*") if path.is_file()):
        try:
            arrival = read_arrival(path.read_bytes())
        except Malformed:
            continue
        kinds.add(arrival.type)
        orders += len(arrival.orders)
    assert {"Bundle", "ServiceRequest", "Patient"} <= kinds
    assert orders > 20


def test_tasks_and_appointments_are_orders_too_and_appointments_come_last() -> None:
    kinds = ["Appointment", "Patient", "Task", "ServiceRequest"]
    entries = [{"resource": {"resourceType": kind, "id": "1"}} for kind in kinds]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    orders = read_arrival(json.dumps(bundle).encode()).orders
    assert [order["resourceType"] for order in orders] == ["Task", "ServiceRequest", "Appointment"]
