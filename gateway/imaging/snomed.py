"""SNOMED RT style codes of older objects as SNOMED CT concepts. Source: DICOM PS3.16 8.1, table O."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from gateway.model.measurement import Code

_SNOMED_RT: Final = frozenset({"SRT", "SNM3", "99SDM"})


def normal(code: Code) -> Code:
    """The code with SNOMED RT's older codes as SNOMED CT's, where there is one."""
    if code.scheme in _SNOMED_RT and (concept := concept_of(code.value)):
        return Code(value=concept, scheme="SCT", meaning=code.meaning)
    return code


def concept_of(code: str) -> str:
    """The SNOMED CT concept that the SRT code stands for; "" when there is none."""
    return str(_concepts().get(code, ""))


@cache
def _concepts() -> Mapping[str, object]:
    # Its package reads all of DICOM's codes, which takes a quarter of a second that only some studies need.
    from pydicom.sr._snomed_dict import mapping  # noqa: PLC0415

    concepts: Mapping[str, object] = mapping["SRT"]
    return concepts
