"""The desktop window that starts and stops the gateway of this computer."""

import http.client
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from gateway.checks import addresses
from gateway.launcher_process import Child
from gateway.model.errors import Invalid
from gateway.settings import Settings, load

READY_S = 1.0

Facts = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Headings with names and values, in the order they are shown."""


def main(config: Path | None) -> int:
    """The window, until it is closed. 0 then, 1 when there is nothing to show it on, 2 for a wrong configuration."""
    try:
        settings = load(config)
    except Invalid as error:
        return _say(str(error), 2)
    try:
        import tkinter  # noqa: PLC0415 (a computer without it still runs everything else)

        from gateway.launcher_window import Window  # noqa: PLC0415
    except ImportError:
        return _say("The launcher needs Tk, which this Python lacks; on Debian: apt install python3-tk", 1)
    try:
        root = tkinter.Tk(className="gateway")
    except tkinter.TclError:
        return _say("The launcher needs a screen and found none; start the gateway with: gateway serve", 1)
    child = Child(command(config), lambda: is_ready(dashboard(settings)))
    Window(root, child, facts=facts(settings, addresses()), dashboard=dashboard(settings))
    try:
        root.mainloop()
    finally:
        child.close()
    return 0


def command(config: Path | None) -> tuple[str, ...]:
    """What starts the gateway with the same Python and the same configuration."""
    chosen = ("--config", str(config)) if config is not None else ()
    return (sys.executable, "-u", "-m", "gateway.cli", "serve", *chosen)


def facts(settings: Settings, own: tuple[str, ...]) -> Facts:
    """What a person types into the machine and into the hospital's system; `own` are this computer's addresses."""
    dicom = settings.dicom
    listeners = tuple(
        (f"HL7 port ({name})", str(listener.port)) for name, listener in settings.hl7.listeners.items()
    )
    page = settings.http.address(own[0])
    sources = tuple((f"FHIR address ({name})", f"{page}fhir/{name}") for name in settings.fhir.sources)
    return (
        (
            "Type into the machine",
            (
                ("Address", "  ".join(own)),
                ("AE title", dicom.ae_title),
                ("Worklist port", str(dicom.worklist_port)),
                ("Storage port", str(dicom.storage_port)),
            ),
        ),
        (
            "Type into the RIS and EHR",
            (*listeners, *sources),
        ),
        ("For the receptionist", (("Dashboard", page),)),
    )


def dashboard(settings: Settings) -> str:
    """The dashboard's address as this computer reaches it."""
    bind = settings.http.bind
    host = "127.0.0.1" if bind in {"0.0.0.0", "::", "localhost"} else bind
    return settings.http.address(host)


def is_ready(page: str) -> bool:
    """Whether the gateway whose dashboard is at `page` answers, healthy or not."""
    connection = _connection(page)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connection(page: str) -> http.client.HTTPConnection:
    parts = urlsplit(page)
    if parts.scheme != "https":
        return http.client.HTTPConnection(parts.netloc, timeout=READY_S)
    # The certificate bears the name that others know this computer by; here nothing is asked but whether it lives.
    context = ssl._create_unverified_context()  # noqa: S323
    return http.client.HTTPSConnection(parts.netloc, timeout=READY_S, context=context)


def _say(text: str, status: int) -> int:
    sys.stderr.write(f"{text}\n")
    return status
