"""The commands, as an operator types them, beside a running gateway."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def gateway(serve: Callable[..., Any]) -> Any:
    return serve()


def test_an_order_is_listed_sent_and_recalled(gateway: Any, order: Callable[..., bytes]) -> None:
    assert b"MSA|AA|CA100" in gateway.say_hl7(order("A100"))[0]
    (row,) = [json.loads(line) for line in gateway.command("orders", "list", "--json").stdout.splitlines()]
    assert (row["accession"], row["state"], row["patient_id"]) == ("A100", "scheduled", "MRN100")

    unsure = gateway.command("orders", "send", "A100")
    assert (unsure.returncode, "choose one of US1, US2" in unsure.stderr) == (2, True)
    sent = gateway.command("orders", "send", "A100", "--station", "US1")
    assert (sent.returncode, sent.stdout) == (0, f"order {row['id']}: sent on US1\n")
    again = gateway.command("orders", "send", "A100", "--station", "US1")
    assert (again.returncode, "the order is sent" in again.stderr) == (1, True)
    assert gateway.command("orders", "recall", "A100").stdout == f"order {row['id']}: scheduled\n"
    shown = json.loads(gateway.command("orders", "show", str(row["id"])).stdout)
    assert {"keyword": "AccessionNumber", "from": "line 4 OBR-18"}.items() <= next(
        entry for entry in shown["provenance"] if entry["keyword"] == "AccessionNumber"
    ).items()


def test_an_unknown_accession_station_or_user_fails_with_a_sentence(
    gateway: Any, order: Callable[..., bytes]
) -> None:
    gateway.say_hl7(order("A100"))
    for words, said in (
        (("orders", "send", "NONE"), "no order with that number"),
        (("orders", "send", "A100", "--station", "XX"), "no machine with the AE title 'XX'"),
        (("orders", "show", "99"), "there is none with that number"),
        (("deliveries", "retry", "99"), "there is none with that number"),
    ):
        done = gateway.command(*words)
        assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_messages_are_listed_and_shown_byte_for_byte(gateway: Any, order: Callable[..., bytes]) -> None:
    (answer,) = gateway.say_hl7(order("A100"))
    (row,) = [json.loads(line) for line in gateway.command("messages", "list", "--json").stdout.splitlines()]
    assert (row["type"], row["state"], row["control_id"]) == ("ORM^O01", "mapped", "CA100")
    shown = gateway.command("messages", "show", str(row["id"])).stdout
    assert order("A100").decode().replace("\r", "\n") in shown
    assert answer.decode().replace("\r", "\n") in shown


def test_a_user_is_added_with_a_role_and_a_weak_password_is_refused(gateway: Any) -> None:
    weak = gateway.command("user", "add", "anna", "--role", "reception", given="short\n")
    assert (weak.returncode, "at least" in weak.stderr) == (2, True)
    assert (
        gateway.command("user", "add", "anna", "--role", "reception", given="long enough 1\n").returncode == 0
    )
    (row,) = [json.loads(line) for line in gateway.command("user", "list", "--json").stdout.splitlines()]
    assert (row["name"], row["role"]) == ("anna", "reception")
    taken = gateway.command("user", "add", "anna", "--role", "viewer", given="long enough 1\n")
    assert (taken.returncode, "already" in taken.stderr) == (1, True)
    assert gateway.command("user", "add", "bert", "--role", "king", given="long enough 1\n").returncode == 2


def test_check_says_what_is_well_and_what_is_not(serve: Callable[..., Any]) -> None:
    gateway = serve('[fhir.destinations.ehr]\nurl = "http://127.0.0.1:9/fhir"\n')
    done = gateway.command("check")
    assert done.returncode == 1
    assert "TROUBLE  fhir.destinations.ehr: cannot be reached" in done.stdout
    assert "ok       database" in done.stdout


def test_the_modules_are_checked_and_their_examples_run(gateway: Any) -> None:
    assert gateway.command("map", "check").returncode == 0
    tested = gateway.command("map", "test")
    assert tested.returncode == 0
    assert "orders-hl7: " in tested.stdout


def test_config_may_stand_before_the_verb_and_a_wrong_one_is_told(gateway: Any) -> None:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "gateway.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert run("--config", str(gateway.config), "orders", "list").stdout == "nothing yet\n"
    assert run(f"--config={gateway.config}", "orders", "list").stdout == "nothing yet\n"
    wrong = run("orders", "list", "--config", "missing.toml")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "gateway: missing.toml: cannot be read: No such file or directory\n",
    )
    assert run("no-such-verb").returncode == 2


def test_a_second_gateway_beside_the_first_says_why_it_cannot_and_ends(gateway: Any) -> None:
    done = gateway.command("serve")
    assert (done.returncode, done.stderr) == (
        1, "gateway: store.files: another gateway receives images into this folder\n",
    )  # fmt: skip
    done = gateway.command("serve", "--only", "http")
    assert done.returncode == 1
    assert "http.port: the port cannot be opened: Address already in use" in done.stderr
    assert gateway.say_hl7(b"MSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.5")


def test_a_stop_signal_ends_it_cleanly_and_the_welcome_told_addresses_and_secret(gateway: Any) -> None:
    assert gateway.stop() == 0
    (said,) = gateway.output
    for part in (
        "Dashboard",
        f":{gateway.http}",
        f"port {gateway.hl7} (ris)",
        f"port {gateway.worklist}",
        "STORESCP",
    ):
        assert part in said
    assert "one-time set-up secret: " in said
    assert "Traceback" not in said
    secret = said.split("set-up secret: ")[1].split()[0]
    assert secret not in (gateway.config.parent / "gateway.log").read_text()


def test_the_welcome_names_no_more_than_this_process_serves(gateway: Any) -> None:
    command = [
        sys.executable,
        "-m",
        "gateway.cli",
        "serve",
        "--only",
        "workers",
        "--config",
        str(gateway.config),
    ]
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        cwd=gateway.config.parent,
        env=unbuffered,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as beside:
        assert beside.stdout is not None
        lines = iter(beside.stdout.readline, "")
        assert any("This computer" in line for line in lines)
        beside.terminate()
        rest = "".join(lines)
    assert beside.returncode == 0
    for word in ("Dashboard", "HL7", "Worklist", "Storage"):
        assert word not in rest


def test_merged_patients_are_listed_and_taken_apart_again(gateway: Any, order: Callable[..., bytes]) -> None:
    gateway.say_hl7(order("A100"))
    patients = b"PID|1||NEW1^^^GENHOSP^MR||DOE^JANE\rMRG|MRN100^^^GENHOSP^MR\r"
    merge = b"MSH|^~\\&|RIS|HOSP|GW|RAD|||ADT^A40|M1|P|2.5.1\r" + patients
    assert b"MSA|AA|M1" in gateway.say_hl7(merge)[0]
    (row,) = [json.loads(line) for line in gateway.command("merges", "list", "--json").stdout.splitlines()]
    assert (row["prior"], row["survivor"], len(row["orders"])) == ("MRN100", "NEW1", 1)
    undone = gateway.command("merges", "undo", "1")
    assert (undone.returncode, undone.stdout) == (0, "merge 1 is undone\n")
    (kept,) = [json.loads(line) for line in gateway.command("orders", "list", "--json").stdout.splitlines()]
    assert kept["patient_id"] == "MRN100"
    again = gateway.command("merges", "undo", "1")
    assert (again.returncode, "undone already" in again.stderr) == (1, True)


def test_a_program_reads_studies_with_a_token_until_it_is_revoked(gateway: Any) -> None:
    added = gateway.command("token", "add", "viewer", "--scope", "dicomweb")
    secret = added.stdout.strip()
    assert (added.returncode, secret.startswith("iog_")) == (0, True)
    again = gateway.command("token", "add", "viewer", "--scope", "dicomweb")
    assert (again.returncode, "already a token" in again.stderr) == (1, True)
    assert gateway.command("token", "add", "other", "--scope", "everything").returncode == 2

    def status() -> int:
        asked = urllib.request.Request(
            f"{gateway.url}/dicom-web/studies", headers={"Authorization": f"Bearer {secret}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status() == 204
    (row,) = [json.loads(line) for line in gateway.command("token", "list", "--json").stdout.splitlines()]
    assert (row["name"], row["scope"], row["used_at"] is not None) == ("viewer", "dicomweb", True)
    assert gateway.command("token", "revoke", "viewer").returncode == 0
    assert status() == 401
    assert gateway.command("token", "revoke", "viewer").returncode == 1
    assert gateway.command("token", "list").stdout == "nothing yet\n"
