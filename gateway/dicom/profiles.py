"""What a kind of machine can take, and what is known of how it behaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.dicom import status
from gateway.dicom.charset import ANY_READER

DEFAULT: Final = "default"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
IMPLICIT: Final = "1.2.840.10008.1.2"


class Groups(StrEnum):
    """Which component groups of a person name are sent. Source: DICOM PS3.5 6.2.1."""

    ALL = "all"
    ALPHABETIC = "alphabetic"


class Station(StrEnum):
    """Which AE title counts where a machine's own configuration cannot be trusted."""

    ASKED = "asked"  # in the query: what it asks for. In the answer: what it asked for, if one title
    CALLING = "calling"  # the title that it calls itself on the association
    ANY = "any"  # in the query: whatever it asks for does not narrow the list
    SCHEDULED = "scheduled"  # in the answer: what the order says


class Expected(StrEnum):
    """Whether machines of this kind do something."""

    YES = "yes"
    NO = "no"
    SOMETIMES = "sometimes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kind of machine. The defaults are a machine that reads what the standard says."""

    name: str = DEFAULT
    about: str = ""
    implementations: tuple[str, ...] = ()  # implementation class UIDs, or the beginning of some before a `*`
    callers: tuple[str, ...] = ()  # AE titles that machines of this kind come with
    syntaxes: tuple[str, ...] = (EXPLICIT, IMPLICIT)  # transfer syntaxes accepted for the worklist
    charsets: tuple[tuple[str, ...], ...] = ANY_READER  # tried in order
    is_transliterated: bool = (
        False  # what no set can hold is written in Latin letters; else the entry is kept back
    )
    replaced: Mapping[str, str] = field(
        default_factory=dict
    )  # characters of a text and what stands in for them
    longest: Mapping[str, int] = field(default_factory=dict)  # characters, by keyword
    is_cut: bool = False  # too long a text is cut; else the entry is kept back
    groups: Groups = Groups.ALL
    is_upper: bool = False  # names in capital letters
    components: int = 5  # of a name: family, given, middle, prefix, suffix
    required: frozenset[str] = frozenset()  # without one of these that it asked, an entry is kept back
    omitted: frozenset[str] = frozenset()  # never sent, though asked
    omitted_when_empty: frozenset[str] = frozenset()
    filled: Mapping[str, str] = field(default_factory=dict)  # what stands where the order says nothing
    pending: int = status.FIND_PENDING
    limit: int = 0  # answers to one query; 0: as the configuration says
    is_limit_silent: bool = (
        False  # the list ends with Success at its limit, for machines that drop it otherwise
    )
    asked_station: Station = Station.ASKED
    answered_station: Station = Station.SCHEDULED
    days: tuple[int, int] | None = None  # days before and after today that a query without a date means
    mpps: Expected = Expected.SOMETIMES
    reports: Expected = Expected.SOMETIMES
    commitment: Expected = Expected.SOMETIMES
    commitment_association: str = "any"  # where its N-EVENT-REPORT is awaited: same, new or any
    version: str = ""  # of the file: another one when it changed

    @property
    def expectations(self) -> Mapping[str, str]:
        """What machines of this kind do beside the worklist: yes, no or sometimes, by what it is called."""
        return {
            "exam status (MPPS)": self.mpps,
            "reports (SR)": self.reports,
            "storage commitment": self.commitment,
        }
