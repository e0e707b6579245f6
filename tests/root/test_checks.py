"""What `gateway check` looks at."""

import shutil
from pathlib import Path

from gateway.checks import check_setup
from gateway.sections import Mappings, Station, Store
from gateway.settings import Settings

ROOT = Path(__file__).parents[2]


def _settings(folder: Path, mappings: Path) -> Settings:
    (folder / "images").mkdir()
    store = Store(url=f"sqlite:///{folder}/gateway.db", files=folder / "images")
    return Settings(store=store, mappings=Mappings(folder=mappings))


def test_what_is_odd_in_a_module_is_told_and_is_no_trouble(tmp_path: Path) -> None:
    mappings = tmp_path / "mappings"
    shutil.copytree(ROOT / "mappings", mappings)
    file = mappings / "orders-hl7.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("{from: OBR-34.1,", "{max: 999, from: OBR-34.1,"), encoding="utf-8")
    found = check_setup(_settings(tmp_path, mappings))
    assert found.troubles["mappings"] == ""
    assert len(found.warnings) == 2
    assert found.warnings[0].endswith("max 999 changes nothing")
    assert found.warnings[0].startswith("orders-hl7.yaml:")


def test_a_database_that_nobody_made_is_told_and_not_made(tmp_path: Path) -> None:
    settings = Settings(
        store=Store(url=f"sqlite:///{tmp_path}/new/gateway.db", files=tmp_path / "new" / "images"),
        mappings=Mappings(folder=ROOT / "mappings"),
    )
    found = check_setup(settings)
    assert "database" not in found.troubles
    assert found.warnings == (
        f"store.url: there is no database at {tmp_path}/new/gateway.db yet; "
        "'gateway serve' or 'gateway db upgrade' makes one",
    )
    assert found.troubles["disk"] == ""
    assert not (tmp_path / "new").exists()


def test_a_faulty_module_is_trouble(tmp_path: Path) -> None:
    mappings = tmp_path / "mappings"
    mappings.mkdir()
    (mappings / "bad.yaml").write_text("mapping: bad\nsauce: hl7v2\n", encoding="utf-8")
    found = check_setup(_settings(tmp_path, mappings))
    assert "bad.yaml:2:1" in found.troubles["mappings"]


def test_a_station_with_an_unknown_profile_is_a_fault(tmp_path: Path) -> None:
    settings = Settings(
        store=Store(url=f"sqlite:///{tmp_path}/gateway.db", files=tmp_path),
        stations=(Station(ae_title="US1", profile="ge-logik"),),
        mappings=Mappings(folder=ROOT / "mappings"),
    )
    expected = "stations: US1: 'ge-logik' is no machine profile in use; did you mean 'ge-logiq'?"
    assert check_setup(settings).troubles["machines"] == expected
