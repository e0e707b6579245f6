"""The launcher's window on a display, and what it shows."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway import launcher
from gateway.launcher_process import Child, State
from gateway.settings import Settings

if TYPE_CHECKING:
    import tkinter

    from gateway.launcher_window import Window

Eventually = Callable[[Callable[[], object], Callable[[], object]], None]

STAY = "import time; print('gateway.started', flush=True); time.sleep(600)"
SETTINGS = Settings.model_validate({"fhir": {"sources": {"ehr": {"auth": {"bearer": "x"}}}}})


@pytest.fixture
def child() -> Iterator[Child]:
    made = Child((sys.executable, "-c", STAY), lambda: True)
    yield made
    made.close()


@pytest.fixture
def opened() -> list[str]:
    """The addresses that the browser was asked to open."""
    return []


@pytest.fixture
def window(root: "tkinter.Tk", child: Child, opened: list[str]) -> "Window":
    from gateway.launcher_window import Window

    return Window(
        root,
        child,
        facts=launcher.facts(SETTINGS, ("192.0.2.5",)),
        dashboard=launcher.dashboard(SETTINGS),
        open_page=opened.append,
    )


def test_the_window_shows_what_is_typed_into_the_machine(window: "Window", root: "tkinter.Tk") -> None:
    shown = _values(root)
    assert {"192.0.2.5", "STORESCP", "11112", "11113", "2575"} <= shown
    assert {"http://192.0.2.5:5000/", "http://192.0.2.5:5000/fhir/ehr"} <= shown
    assert window.state.get() == "Stopped"


def test_start_runs_the_child_and_stop_ends_it(
    window: "Window", root: "tkinter.Tk", child: Child, opened: list[str], eventually: Eventually
) -> None:
    assert str(window.page["state"]) == "disabled"
    window.switch.invoke()
    eventually(lambda: window.state.get() == "Running", root.update)
    eventually(lambda: "gateway.started" in window.log.get("1.0", "end"), root.update)
    assert window.switch["text"] == "STOP"
    window.page.invoke()
    assert opened == ["http://127.0.0.1:5000/"]
    window.switch.invoke()
    eventually(lambda: window.state.get() == "Stopped", root.update)
    assert child.status.state is State.STOPPED
    assert window.switch["text"] == "START"


def test_a_child_that_dies_shows_its_last_line(
    root: "tkinter.Tk", eventually: Eventually, opened: list[str]
) -> None:
    from gateway.launcher_window import Window

    child = Child((sys.executable, "-c", "print('http.port: the port cannot be opened')"), lambda: False)
    window = Window(root, child, facts=(), dashboard="http://127.0.0.1:1/", open_page=opened.append)
    window.switch.invoke()
    eventually(lambda: window.state.get() == "Failed", root.update)
    assert window.reason.get() == "http.port: the port cannot be opened"
    assert str(window.page["state"]) == "disabled"


def test_closing_the_window_ends_the_child(
    window: "Window", root: "tkinter.Tk", child: Child, eventually: Eventually
) -> None:
    window.switch.invoke()
    eventually(lambda: window.state.get() == "Running", root.update)
    window.close()
    root.mainloop()  # returns when the window is gone
    assert child.status.state is State.STOPPED


def test_the_child_gets_the_configuration_that_was_given() -> None:
    assert launcher.command(Path("/etc/gateway.toml"))[-3:] == ("serve", "--config", "/etc/gateway.toml")
    assert launcher.command(None)[-1] == "serve"


def test_the_dashboard_is_reached_where_it_listens() -> None:
    settings = Settings.model_validate({"http": {"bind": "192.0.2.5", "port": 81}})
    assert launcher.dashboard(settings) == "http://192.0.2.5:81/"


def test_with_tls_every_address_is_by_https() -> None:
    secured = {"http": {"tls": {"certificate": "a.pem", "key": "a.key"}}}
    settings = Settings.model_validate({**SETTINGS.model_dump(include={"fhir"}), **secured})
    shown = {value for _, pairs in launcher.facts(settings, ("192.0.2.5",)) for _, value in pairs}
    assert {"https://192.0.2.5:5000/", "https://192.0.2.5:5000/fhir/ehr"} <= shown
    assert launcher.dashboard(settings) == "https://127.0.0.1:5000/"


def test_nobody_answering_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
    assert not launcher.is_ready(f"http://127.0.0.1:{port}/")
    assert not launcher.is_ready(f"https://127.0.0.1:{port}/")


def test_a_wrong_configuration_is_told_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("[http]\nprot = 1\n")
    assert launcher.main(config) == 2
    assert "http.prot" in capsys.readouterr().err


def test_without_a_display_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter", reason="this Python has no Tk")
    monkeypatch.delenv("DISPLAY", raising=False)
    command = [sys.executable, "-c", "from gateway.launcher import main; raise SystemExit(main(None))"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "needs a screen" in ended.stderr


def test_the_real_gateway_starts_answers_and_stops(tmp_path: Path, eventually: Eventually) -> None:
    config = tmp_path / "gateway.toml"
    ports = [_free_port() for _ in range(4)]
    mappings = Path(__file__).parents[2] / "mappings"
    config.write_text(
        f'[store]\nurl = "sqlite:///{tmp_path}/g.db"\nfiles = "{tmp_path}/images"\n'
        f'[http]\nbind = "127.0.0.1"\nport = {ports[0]}\n'
        f'[dicom]\nbind = "127.0.0.1"\nworklist_port = {ports[1]}\nstorage_port = {ports[2]}\n'
        f'[hl7.listeners.ris]\nbind = "127.0.0.1"\nport = {ports[3]}\n'
        f'[mappings]\nfolder = "{mappings}"\n[log]\nfile = "{tmp_path}/gateway.log"\n'
    )
    child = Child(launcher.command(config), lambda: launcher.is_ready(f"http://127.0.0.1:{ports[0]}/"))
    child.start()
    try:
        eventually(lambda: child.status.state in (State.RUNNING, State.FAILED), child.poll)
        assert child.status.state is State.RUNNING, child.status.reason
        child.stop()
        eventually(lambda: child.status.state is State.STOPPED, child.poll)
    finally:
        child.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


def _values(root: "tkinter.Tk") -> set[str]:
    import tkinter

    def entries(widget: tkinter.Misc) -> Iterator[str]:
        for inner in widget.winfo_children():
            if isinstance(inner, tkinter.Entry):
                yield inner.get()
            yield from entries(inner)

    return set(entries(root))
