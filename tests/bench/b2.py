"""How many FHIR orders a second are mapped, committed with full sync and answered, and how long each takes.

Run by `make bench`; it prints figures and asserts nothing. The gateway is a process of its own; senders are another.
"""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
ORDERS = 400
TARGET = 500


def main() -> None:
    """Print the figures, or be the senders."""
    if sys.argv[1:]:
        asyncio.run(_send(sys.argv[1], int(sys.argv[2])))
        return
    print(f"FHIR orders, each with its patient, on SQLite with full sync; the target is {TARGET} a second")
    print(f"{'':14}{'orders/s':>10}{'median ms':>12}{'p99 ms':>10}")
    for senders in (1, 8, 16):
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), senders)


def _measure(folder: Path, senders: int) -> None:
    port = _free_port()
    (folder / "gateway.toml").write_text(
        f'[http]\nbind = "127.0.0.1"\nport = {port}\n[mappings]\nfolder = "{ROOT / "mappings"}"\n'
        f'[fhir.sources.ehr]\nauth = {{ bearer = "a long secret" }}\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "gateway.cli", "serve", "--only", "http"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as gateway,
    ):
        try:
            _until_ready(port)
            subprocess.run([sys.executable, __file__, str(port), str(senders)], check=True)
        finally:
            gateway.terminate()


async def _send(port: str, senders: int) -> None:
    took: list[float] = []
    numbers = iter(range(ORDERS + 200))
    limits = httpx.Limits(max_connections=senders)
    headers = {"Authorization": "Bearer a long secret", "Content-Type": "application/fhir+json"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", limits=limits, headers=headers
    ) as client:

        async def one(number: int) -> None:
            begun = time.perf_counter()
            answer = await client.put(f"/fhir/ehr/ServiceRequest/{number}", content=_order(number))
            answer.raise_for_status()
            took.append(time.perf_counter() - begun)

        async def sender(last: int) -> None:
            for number in numbers:
                await one(number)
                if number >= last:
                    return

        await sender(199)  # warm
        took.clear()
        begun = time.perf_counter()
        await asyncio.gather(*(sender(ORDERS * 2) for _ in range(senders)))
        rate = len(took) / (time.perf_counter() - begun)
    took.sort()
    median, p99 = took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000
    print(f"{f'{senders} at once':14}{rate:10.0f}{median:12.1f}{p99:10.1f}", flush=True)


def _order(number: int) -> bytes:
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203"}
    return json.dumps(
        {
            "resourceType": "ServiceRequest",
            "id": str(number),
            "meta": {"versionId": "1", "lastUpdated": "2026-11-20T08:00:00Z"},
            "status": "active",
            "intent": "order",
            "identifier": [{"type": {"coding": [{**coding, "code": "ACSN"}]}, "value": f"B{number}"}],
            "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "363679005"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "24558-9"}], "text": "US Abdomen"},
            "orderDetail": [
                {"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"}]}
            ],
            "occurrenceDateTime": "2026-11-24T10:00:00Z",
            "subject": {"reference": "#p"},
            "contained": [
                {
                    "resourceType": "Patient",
                    "id": "p",
                    "identifier": [{"type": {"coding": [{**coding, "code": "MR"}]}, "value": f"M{number}"}],
                    "name": [{"family": f"Family{number}", "given": ["Given"]}],
                    "gender": "female",
                    "birthDate": "1980-01-01",
                }
            ],
        }
    ).encode()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _until_ready(port: int) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit("the gateway did not start")


if __name__ == "__main__":
    main()
