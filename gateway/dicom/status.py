"""The DIMSE status codes the gateway answers, each with its clause."""

from typing import Final

from pydicom.dataset import Dataset

SUCCESS: Final = 0x0000

# C-FIND. Source: DICOM PS3.4 K.4.1.1.4
FIND_PENDING: Final = (
    0xFF00  # matches continue, every optional key was supported in the manner of a required key
)
FIND_CANCELLED: Final = 0xFE00  # ended by the asker's C-CANCEL
FIND_OUT_OF_RESOURCES: Final = 0xA700  # our store cannot answer now
FIND_IDENTIFIER_UNFIT: Final = (
    0xA900  # the identifier does not match the SOP Class: a key that cannot be read
)
FIND_UNABLE: Final = 0xC001  # of Cxxx, unable to process: a fault of ours

# C-STORE. Source: DICOM PS3.4 B.2.3
STORE_OUT_OF_RESOURCES: Final = 0xA700  # of A7xx: the disk or the database cannot take it now
STORE_UNFIT: Final = (
    0xA900  # of A9xx, the data set does not match the SOP Class: UIDs absent, illegal or others
)
STORE_UNREADABLE: Final = 0xC000  # of Cxxx, cannot understand: truncated, or no DICOM at all
STORE_UID_REUSED: Final = 0xC001  # of Cxxx: same SOP Instance UID, other content
STORE_FAULT: Final = 0xC002  # of Cxxx: a fault of ours

_MAX_COMMENT = 64  # Error Comment is LO. Source: DICOM PS3.7 E.1-1


def with_comment(code: int, comment: str) -> Dataset:
    """The status `code` with an Error Comment, cut to 64 characters. Source: DICOM PS3.7 C.4."""
    status = Dataset()
    status.Status = code
    status.ErrorComment = comment[:_MAX_COMMENT].replace("\\", "/")
    return status
