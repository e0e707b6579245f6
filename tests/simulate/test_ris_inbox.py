import pytest

from gateway.hl7.sender import Sender
from gateway.model.errors import Invalid, Refused
from gateway.simulate.ris_inbox import RisInbox

STATUS = b"MSH|^~\\&|GATEWAY||RIS||20261123||ORM^O01|C1|P|2.5.1\rORC|SC|P1|F1||IP\r"


def test_what_it_is_told_it_keeps_and_answers() -> None:
    shown: list[str] = []
    with RisInbox(show=shown.append) as inbox, Sender("127.0.0.1", inbox.port, timeout_s=5) as sender:
        answer = sender.send(STATUS)
        inbox.answer = "AR"
        with pytest.raises(Refused, match="AR"):
            sender.send(STATUS)
    assert b"MSA|AA|C1" in answer
    assert inbox.received == [STATUS, STATUS]
    assert "ORC|SC|P1|F1||IP" in shown[0].splitlines()


def test_it_answers_only_what_hl7_knows() -> None:
    with pytest.raises(Invalid, match="AA, AE or AR"):
        RisInbox(answer="OK")
