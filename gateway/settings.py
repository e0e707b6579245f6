"""The configuration: gateway.toml and GATEWAY_SECTION__KEY, read here and nowhere else."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from gateway.model.errors import Invalid
from gateway.sections import (
    Dicom,
    Fhir,
    Hl7,
    Http,
    Log,
    Mappings,
    Pictures,
    Site,
    Station,
    Store,
    StudySection,
    WatchSection,
    Worklist,
)


class Settings(BaseSettings):
    """Everything that can be set. Unknown keys are faults."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    sees_environment: ClassVar[bool] = False

    site: Site = Site()
    store: Store = Store()
    http: Http = Http()
    dicom: Dicom = Dicom()
    worklist: Worklist = Worklist()
    mappings: Mappings = Mappings()
    hl7: Hl7 = Hl7()
    stations: tuple[Station, ...] = ()
    fhir: Fhir = Fhir()
    study: StudySection = StudySection()
    pictures: Pictures = Pictures()
    watch: WatchSection = WatchSection()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What was given; the environment wins over it where it is in sight."""
        return (env_settings, init_settings) if cls.sees_environment else (init_settings,)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = [*self._open_sources(), *self._never_shown(), *self._twice(), *self._told()]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _open_sources(self) -> list[str]:
        if self.http.is_local:
            return []
        return [
            f"fhir.sources.{name}.auth: required, because http.bind is open to other computers"
            for name, source in self.fhir.sources.items()
            if not source.auth
        ]

    def _never_shown(self) -> list[str]:
        if self.http.tls is not None and self.http.tls.client_ca is not None:
            return []
        return [
            f"fhir.sources.{name}.auth: mtls needs http.tls.client_ca, or header and proxies, "
            "else no sender shows a certificate"
            for name, source in self.fhir.sources.items()
            if any(proof.mtls is not None and not proof.mtls.header for proof in source.auth)
        ]

    def _told(self) -> list[str]:
        hl7 = self.hl7.destinations
        both = sorted(hl7.keys() & self.fhir.destinations.keys())
        known = self.hl7.listeners.keys() | self.fhir.sources.keys()
        return [
            *(f"hl7.destinations.{name}: a destination of FHIR has the same name" for name in both),
            *(
                f"hl7.destinations.{name}.sources: there is no listener or source '{source}'"
                for name, one in hl7.items()
                for source in one.sources
                if source not in known
            ),
            *(
                f"fhir.destinations.{name}.dicomweb: needs http.public_url, else nobody knows where that is"
                for name, one in self.fhir.destinations.items()
                if one.dicomweb and not one.dicomweb_url and not self.http.public_url
            ),
        ]

    def _twice(self) -> list[str]:
        titles = [station.ae_title for station in self.stations]
        faults = [
            f"stations: the AE title {t} stands twice"
            for t in sorted({t for t in titles if titles.count(t) > 1})
        ]
        ports: dict[int, list[str]] = {}
        named = {
            "http.port": self.http.port,
            "dicom.worklist_port": self.dicom.worklist_port,
            "dicom.storage_port": self.dicom.storage_port,
            **({"dicom.tls.port": self.dicom.tls.port} if self.dicom.tls.certificate else {}),
            **{f"hl7.listeners.{name}.port": listener.port for name, listener in self.hl7.listeners.items()},
        }
        for key, port in named.items():
            ports.setdefault(port, []).append(key)
        return faults + [
            f"{' and '.join(keys)}: the same port {port}"
            for port, keys in ports.items()
            if port and len(keys) > 1
        ]


class _Surroundings(Settings):
    """The settings with the environment in sight."""

    sees_environment = True


def load(path: Path | None = None) -> Settings:
    """The settings of the file, of the environment and of the defaults.

    The file is `path`, else the one that GATEWAY_CONFIG names, else gateway.toml here when there is one.
    Raises Invalid with every fault of the file and the environment, one a line.
    """
    chosen = _chosen(path)
    content = _read(chosen) if chosen else {}
    try:
        settings = _Surroundings(**content)
    except ValidationError as error:
        raise Invalid(*(_fault(entry, chosen) for entry in error.errors())) from None
    except SettingsError as error:  # a variable that holds no JSON where a list or table is wanted
        raise Invalid(f"environment: {error}") from None
    unknown = _unknown_variables(os.environ)
    if unknown:
        raise Invalid(*unknown)
    return settings


def _chosen(path: Path | None) -> Path | None:
    if path is not None:
        return path
    if named := os.environ.get("GATEWAY_CONFIG"):
        return Path(named)
    default = Path("gateway.toml")
    return default if default.exists() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path}: not TOML: {error}") from None


def _fault(entry: Any, path: Path | None) -> str:
    where = ".".join(str(part) for part in entry["loc"])
    text = (
        "unknown key"
        if entry["type"] == "extra_forbidden"
        else str(entry["msg"]).removeprefix("Value error, ")
    )
    return f"{path or 'settings'}: {where + ': ' if where else ''}{text}"


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like ours and set nothing: a typing error must not pass unseen."""
    sections = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    return [
        f"environment: {name}: unknown key"
        for name in sorted(environment)
        if name.upper().startswith("GATEWAY_")
        and name.upper() != "GATEWAY_CONFIG"
        and name.upper().split("__")[0] not in sections
    ]
