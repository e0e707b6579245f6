"""What an operator types about machines, against a gateway in a process of its own."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.road.conftest import Served


def test_why_an_order_is_not_on_a_machine_and_a_simulated_exam(
    serve: "Callable[..., Served]", order: Callable[..., bytes]
) -> None:
    served = serve()
    served.say_hl7(order("A100", start=time.strftime("%Y%m%d101500")))
    to = f"127.0.0.1:{served.worklist}"

    def why(station: str = "US1") -> tuple[int, str]:
        done = served.command("orders", "why", "A100", station)
        assert done.stderr == ""
        return done.returncode, done.stdout

    assert why() == (
        1,
        "order 1: not on the list of Ultrasound 1 (US1)\n"
        "  It has not been sent to any machine.\n"
        "    Press “Send to machine” at the order.\n",
    )
    assert served.command("orders", "send", "A100", "--station", "US1").returncode == 0
    code, text = why()
    assert code == 1
    assert "has never asked for its worklist" in text
    served.command("simulate", "machine", "query", "--to", to, "--key", "PatientID=MRN100")
    until = time.monotonic() + 10
    while why()[0] and time.monotonic() < until:
        time.sleep(0.2)
    code, text = why()
    assert (code, text.splitlines()[0]) == (0, "order 1: on the list of Ultrasound 1 (US1)")
    assert why("US2")[0] == 1
    assert served.command("orders", "why", "NONE", "US1").returncode == 1

    told = served.command("simulate", "machine", "mpps", "--to", to, "--key", "AccessionNumber=A100")
    assert (told.returncode, told.stderr) == (0, "")
    assert [line.split(" ", 1)[1] for line in told.stdout.splitlines()] == [
        "begun: 0x0000",
        "completed: 0x0000",
    ]
    assert '"state": "completed"' in served.command("orders", "show", "1").stdout
    assert served.command("simulate", "machine", "mpps", "--to", to).returncode == 1  # the list is empty
