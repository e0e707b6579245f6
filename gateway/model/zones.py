"""A zone as an object's header gives it."""

from datetime import timedelta, timezone


def read_offset(text: str) -> timezone | None:
    """A Timezone Offset From UTC (0008,0201), "+0100"; None for what is none. Source: DICOM PS3.3 C.12.1.1.8."""
    if len(text) != 5 or text[0] not in "+-" or not (text[1:].isascii() and text[1:].isdecimal()):
        return None
    span = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
    return timezone(-span if text[0] == "-" else span) if span < timedelta(hours=24) else None
