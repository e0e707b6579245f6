"""What is counted of each answer: its acknowledgement codes, and how long it took."""

import re

from gateway.model.tally import Tally

_CODE = re.compile(rb"\rMSA[^\w\s]([AC][AER])[^\w]")
"""MSA-1. Source: HL7 v2.5.1 2.14.8.1, table 0008."""


def note_answer(tally: Tally, source: str, answer: bytes, seconds: float) -> None:
    """The answer to one frame is counted; a frame that is answered with nothing takes its time too."""
    for code in _CODE.findall(answer):
        tally.count("acknowledgements", source, code.decode("ascii"))
    tally.took("message", seconds, source)
