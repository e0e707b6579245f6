"""What we send, judged by validators that are not ours; each release by its official definitions.

FHIR_VALIDATORS names the folder that `python tests/fhir/make_validators.py FOLDER` makes.
"""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures" / "fhir-out"
CHECK_STRUCTURE = Path(__file__).parent / "check_structure.mjs"
Judge = Callable[[dict[str, Any]], dict[str, list[str]]]

_MISCOUNTED = ("ImagingStudy.series.instance.", "ImagingStudy.series.performer.")
"""pyrofile counts what stands in all instances or performers of a series together; Medplum's checker counts right."""


@pytest.fixture(scope="session")
def validators() -> Path:
    named = os.environ.get("FHIR_VALIDATORS", "")
    if not named or not (Path(named) / "whole").exists():
        pytest.skip("FHIR_VALIDATORS names no folder that tests/fhir/make_validators.py made")
    return Path(named).absolute()


@pytest.fixture
def judge_r4(validators: Path, tmp_path: Path) -> Judge:
    """The faults that pyrofile, fhirkit and Medplum's checker find in each of the resources, by its name."""

    def judge(resources: dict[str, Any]) -> dict[str, list[str]]:
        folder = tmp_path / "judged"
        files = _write(folder, resources)
        settings = {
            "fhirVersion": "4.0.1",
            "localPackagePaths": [str(validators / "r4")],
            "terminology": {"mode": "local"},
        }
        (tmp_path / "pyrofile.json").write_text(json.dumps(settings))
        said = tmp_path / "said.json"
        binaries = validators / "venv/bin"
        _run(
            tmp_path,
            binaries / "pyrofile",
            "folder",
            folder,
            "-c",
            tmp_path / "pyrofile.json",
            "--json-output",
            said,
        )
        by_file = {file: list[str]() for file in files}
        for issue in json.loads(said.read_text())["issues"]:
            is_miscounted = issue["code"] == "profile.element.cardinality.max" and issue["path"].startswith(
                _MISCOUNTED
            )
            if issue["severity"] == "error" and not is_miscounted:
                by_file.setdefault(issue["resourceId"], []).append(f"{issue['code']} {issue['path']}")
        shown = _run(tmp_path, binaries / "fhirkit", "validate", "--json", *folder.iterdir())
        for path, issues in _fhirkit(shown):
            by_file[path.stem] += issues
        for name, issues in _check_structure(validators, "r4", tmp_path).items():
            by_file[name] += issues
        return by_file

    return judge


@pytest.fixture
def judge_r5(validators: Path, tmp_path: Path) -> Judge:
    """The faults that Medplum's checker finds in each of the resources, by its name."""

    def judge(resources: dict[str, Any]) -> dict[str, list[str]]:
        _write(tmp_path / "judged", resources)
        return _check_structure(validators, "r5", tmp_path)

    return judge


def _check_structure(validators: Path, release: str, folder: Path) -> dict[str, list[str]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    files = sorted((folder / "judged").iterdir())
    shown = _run(folder, node, CHECK_STRUCTURE, validators, release, *files)
    return {Path(path).stem: issues for path, issues in json.loads(shown).items()}


def _write(folder: Path, resources: dict[str, Any]) -> list[str]:
    folder.mkdir()
    for name, resource in resources.items():
        text = json.dumps({**resource, "id": name})  # pyrofile takes resources without an id for one
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return list(resources)


def _run(where: Path, *command: object) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=where)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def _sent(release: str) -> dict[str, Any]:
    """Every resource and every Bundle that the golden files hold."""
    found = {}
    for path in sorted(FIXTURES.glob(f"*.{release}.json")):
        bundle = json.loads(path.read_text(encoding="utf-8"))
        name = path.name.partition(".")[0]
        for number, entry in enumerate(bundle["entry"]):
            found[f"{name}-{number}"] = entry["resource"]
        named = [
            {**entry, "resource": {**entry["resource"], "id": f"{name}-bundle-{number}"}}
            for number, entry in enumerate(bundle["entry"])
        ]
        found[f"{name}-bundle"] = {**bundle, "entry": named}
    return found


def test_nothing_is_wrong_with_what_we_send_in_r4(judge_r4: Judge) -> None:
    sent = _sent("r4")
    assert len(sent) > 20
    assert judge_r4(sent) == {name: [] for name in sent}


def test_nothing_is_wrong_with_what_we_send_in_r5(judge_r5: Judge) -> None:
    sent = {name: one for name, one in _sent("r5").items() if one["resourceType"] != "Bundle"}
    assert len(sent) > 15
    assert judge_r5(sent) == {name: [] for name in sent}


def _defects() -> Iterator[tuple[str, dict[str, Any]]]:
    """Good resources, each broken in one way."""
    sent = _sent("r4")
    study = sent["single-us-0"]
    observed = next(one for one in sent.values() if "valueQuantity" in one)

    def broken(change: Callable[[Any], object], resource: Any = study) -> Any:
        copied = copy.deepcopy(resource)
        change(copied)
        return copied

    patient = {"resourceType": "Patient", "contact": [{"gender": "female"}]}
    contained = [{"resourceType": "Patient", "id": "p", "gender": "female"}]
    absent = {
        "coding": [{"code": "unknown", "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason"}]
    }
    yield "missing subject", broken(lambda one: one.pop("subject"))
    yield "missing status", broken(lambda one: one.pop("status"))
    yield "wrong status", broken(lambda one: one.update(status="complete"))
    yield "unknown element", broken(lambda one: one.update(colour="red"))
    yield "modality of R5", broken(lambda one: one.update(modality=[{"coding": one["modality"]}]))
    yield "series without uid", broken(lambda one: one["series"][0].pop("uid"))
    yield "wrong uid", broken(lambda one: one["series"][0].update(uid="urn:oid:1.2 3"))
    yield "no zone", broken(lambda one: one.update(started="2026-06-23T10:30:15"))
    yield "negative count", broken(lambda one: one.update(numberOfSeries=-1))
    yield "empty list", broken(lambda one: one.update(note=[]))
    yield "empty text", broken(lambda one: one.update(description=""))
    yield "wrong target", broken(lambda one: one.update(subject={"reference": "Organization/7"}))
    yield "no sopClass", broken(lambda one: one["series"][0]["instance"][0].pop("sopClass"))
    yield "unreferenced contained", broken(lambda one: one.update(contained=contained))
    yield "value and reason", broken(lambda one: one.update(dataAbsentReason=absent), observed)
    yield "contact without details", patient


def test_each_of_sixteen_defects_is_found(judge_r4: Judge) -> None:
    defects = {name.replace(" ", "-"): one for name, one in _defects()}
    assert len(defects) == 16
    assert [name for name, issues in judge_r4(defects).items() if not issues] == []


def test_r4s_form_is_found_in_r5(judge_r5: Judge) -> None:
    r4 = _sent("r4")
    told = judge_r5({kind: r4[kind] for kind in ("single-us-0", "measured-0")})
    assert all(told.values()), told


def _fhirkit(shown: str) -> Iterator[tuple[Path, list[str]]]:
    """One JSON object a line."""
    for line in shown.splitlines():
        told = json.loads(line)
        yield Path(told["file"]), [f"{one['message']} {one['path']}" for one in told["issues"]]
