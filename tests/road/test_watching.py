"""What is counted on the way is told at /metrics."""

import urllib.request
from collections.abc import Callable
from typing import Any


def _figures(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_an_order_and_a_code_that_no_table_knows_are_counted(
    serve: Callable[..., Any], order: Callable[..., bytes]
) -> None:
    gateway = serve()
    gateway.say_hl7(order("A1"), order("A2", control="ZZ"))
    found = _figures(gateway.url)
    assert found['gateway_messages_total{source="ris",state="mapped"}'] == 1
    assert found['gateway_acknowledgements_total{code="AA",source="ris"}'] == 2
    assert found['gateway_message_seconds_count{source="ris"}'] == 2
    assert found['gateway_connections_total{listener="ris"}'] == 1
    assert found['gateway_feed_quiet{listener="ris"}'] == 0
    assert found['gateway_feed_last_message_timestamp_seconds{listener="ris"}'] > 1e9
    assert found['gateway_unmapped_codes{source="ris",table="action"}'] == 1
    assert found["gateway_messages_held"] == 1
    assert not any(value for name, value in found.items() if name.startswith("gateway_part_trouble"))
    assert not any("ZZ" in name or "MRN100" in name for name in found)
