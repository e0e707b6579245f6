"""SNOMED RT style codes of older objects as SNOMED CT concepts. Source: DICOM PS3.16 8.1, table O."""

from pydicom.sr._snomed_dict import mapping

_CONCEPTS = mapping["SRT"]


def concept_of(code: str) -> str:
    """The SNOMED CT concept that the SRT code stands for; "" when there is none."""
    return str(_CONCEPTS.get(code, ""))
