import pytest

from gateway.flow import admit
from gateway.flow.ports import Ports
from gateway.model.errors import Conflict, Invalid, NotFound, Refused
from gateway.model.user import Role

PASSWORD = "correct horse"


def _add(ports: Ports, name: str = "anna") -> None:
    admit.add_user(ports, name, Role.RECEPTION, PASSWORD, actor="cli")


def _log_in(ports: Ports, password: str = PASSWORD, name: str = "anna", peer: str = "10.0.0.1") -> str:
    return admit.log_in(ports, name=name, password=password, peer=peer)


def test_a_right_password_opens_a_session_and_logging_out_ends_it(ports: Ports) -> None:
    _add(ports)
    token = _log_in(ports)
    user = admit.admitted(ports, token)
    assert user is not None
    assert (user.name, user.role) == ("anna", Role.RECEPTION)
    admit.log_out(ports, token)
    assert admit.admitted(ports, token) is None


def test_a_wrong_password_and_an_unknown_name_get_the_same_words(ports: Ports) -> None:
    _add(ports)
    with pytest.raises(Refused) as wrong:
        _log_in(ports, "wrong password")
    with pytest.raises(Refused) as unknown:
        _log_in(ports, name="nobody")
    assert str(wrong.value) == str(unknown.value)


def test_after_five_failures_even_the_right_password_waits(ports: Ports) -> None:
    _add(ports)
    for _ in range(5):
        with pytest.raises(Refused):
            _log_in(ports, "wrong password")
    with pytest.raises(Refused, match="too many"):
        _log_in(ports)
    ports.clock.advance(seconds=301)  # type: ignore[attr-defined]
    assert _log_in(ports)


def test_one_address_cannot_try_many_names(ports: Ports) -> None:
    for number in range(20):
        with pytest.raises(Refused):
            _log_in(ports, name=f"name{number}")
    _add(ports)
    with pytest.raises(Refused, match="too many"):
        _log_in(ports)
    assert _log_in(ports, peer="10.0.0.2")


@pytest.mark.parametrize(("pause_s", "times"), [(31 * 60, 1), (29 * 60, 25)])
def test_a_session_ends_when_idle_for_half_an_hour_or_after_half_a_day(
    ports: Ports, pause_s: float, times: int
) -> None:
    _add(ports)
    token = _log_in(ports)
    for _ in range(times - 1):
        ports.clock.advance(seconds=pause_s)  # type: ignore[attr-defined]
        admit.admitted(ports, token)
    ports.clock.advance(seconds=pause_s)  # type: ignore[attr-defined]
    assert admit.admitted(ports, token) is None


def test_what_a_page_does_on_its_own_keeps_no_session_alive(ports: Ports) -> None:
    _add(ports)
    token = _log_in(ports)
    for _ in range(3):
        ports.clock.advance(seconds=20 * 60)  # type: ignore[attr-defined]
        user = admit.admitted(ports, token, is_use=False)
    assert user is None


def test_the_setup_secret_makes_one_administrator_once(ports: Ports) -> None:
    old = admit.new_setup_secret(ports)
    secret = admit.new_setup_secret(ports)
    assert old is not None
    assert secret is not None
    with pytest.raises(Refused):
        admit.set_up(ports, secret=old, name="root", password=PASSWORD)
    with pytest.raises(Invalid):
        admit.set_up(ports, secret=secret, name="root", password="short")
    token = admit.set_up(ports, secret=secret, name="root", password=PASSWORD)
    user = admit.admitted(ports, token)
    assert user is not None
    assert user.role is Role.ADMIN
    with pytest.raises(Refused):
        admit.set_up(ports, secret=secret, name="second", password=PASSWORD)
    assert admit.new_setup_secret(ports) is None


@pytest.mark.parametrize(("name", "password"), [("anna", "short"), ("", PASSWORD), (" anna", PASSWORD)])
def test_weak_passwords_and_odd_names_are_refused(ports: Ports, name: str, password: str) -> None:
    with pytest.raises(Invalid):
        admit.add_user(ports, name, Role.VIEWER, password, actor="cli")


def test_a_name_is_given_once(ports: Ports) -> None:
    _add(ports)
    with pytest.raises(Conflict):
        _add(ports)


def test_a_new_password_ends_every_session(ports: Ports) -> None:
    _add(ports)
    token = _log_in(ports)
    admit.change_password(ports, "anna", "another password", actor="cli")
    assert admit.admitted(ports, token) is None
    assert _log_in(ports, "another password")
    with pytest.raises(NotFound):
        admit.change_password(ports, "nobody", PASSWORD, actor="cli")
