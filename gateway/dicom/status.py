"""The DIMSE status codes the gateway answers, each with its clause."""

from typing import Final

from pydicom.dataset import Dataset

SUCCESS: Final = 0x0000

# C-FIND. Source: DICOM PS3.4 K.4.1.1.4
FIND_PENDING: Final = (
    0xFF00  # matches continue, every optional key was supported in the manner of a required key
)
FIND_PENDING_UNSUPPORTED: Final = (
    0xFF01  # matches continue, some optional key was not supported in that manner
)
FIND_CANCELLED: Final = 0xFE00  # ended by the asker's C-CANCEL
FIND_OUT_OF_RESOURCES: Final = 0xA700  # our store cannot answer now, or more matches than may be sent
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

# N-CREATE and N-SET of a performed procedure step. Source: DICOM PS3.7 annex C.5, PS3.4 F.7.2
STEP_VALUE_INVALID: Final = 0x0106
STEP_FAILED: Final = 0x0110  # processing failure; with the Error ID below: the step is finished
STEP_FINISHED_ERROR: Final = 0xA710  # "Performed Procedure Step Object may no longer be updated"
STEP_DUPLICATE: Final = 0x0111
STEP_UNKNOWN: Final = 0x0112
STEP_UID_UNFIT: Final = 0x0117
STEP_ATTRIBUTE_MISSING: Final = 0x0120
STEP_VALUE_MISSING: Final = 0x0121
STEP_OUT_OF_RESOURCES: Final = 0x0213

# N-ACTION of storage commitment. Source: DICOM PS3.7 C.5, PS3.4 J.3.2.1.5
ACTION_FAILED: Final = 0x0110  # processing failure: a fault of ours, or the database cannot take it now
ACTION_NO_INSTANCE: Final = 0x0112  # not the well-known instance
ACTION_INVALID_ARGUMENT: Final = 0x0115  # the information cannot be read, or lacks what it must have
ACTION_UNKNOWN: Final = 0x0123  # no such action type
ACTION_OUT_OF_RESOURCES: Final = 0x0213  # more references than are taken

_MAX_COMMENT = 64  # Error Comment is LO. Source: DICOM PS3.7 E.1-1


def with_comment(code: int, comment: str) -> Dataset:
    """The status `code` with an Error Comment, cut to 64 characters. Source: DICOM PS3.7 C.4."""
    status = Dataset()
    status.Status = code
    status.ErrorComment = comment[:_MAX_COMMENT].replace("\\", "/")
    return status
