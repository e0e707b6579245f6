"""One example of every transform, for the reference; a test runs each of them.

`given` is a text, an HL7 field when it holds `^`, or a FHIR element when it begins with a brace. Several values are
separated by `~`, before and after.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a step, written as in a module, makes of a value."""

    step: str
    given: str
    made: str


def _sample(step: str, given: str, made: str) -> Sample:
    return Sample(step=step, given=given, made=made)


SAMPLES: Mapping[str, Sample] = {
    "strip": _sample("strip", " A1 ", "A1"),
    "upper": _sample("upper", "us", "US"),
    "lower": _sample("lower", "US", "us"),
    "title": _sample("title", "JANE DOE", "Jane Doe"),
    "digits": _sample("digits", "A-12/3", "123"),
    "truncate": _sample("truncate: 5", "Abdomen", "Abdom"),
    "pad": _sample("pad: {n: 6, char: '0'}", "42", "000042"),
    "replace": _sample("replace: {from: '\\', to: /}", "left\\right", "left/right"),
    "regex": _sample("regex: {match: 'ACC(\\d+)', group: 1}", "ACC42", "42"),
    "split": _sample("split: {sep: '-', n: 2}", "CT-ROOM2", "ROOM2"),
    "join": _sample("join: ', '", "left~right", "left, right"),
    "prefix": _sample("prefix: RIS-", "42", "RIS-42"),
    "suffix": _sample("suffix: /1", "42", "42/1"),
    "drop_prefix": _sample("drop_prefix: 'urn:oid:'", "urn:oid:1.2.3", "1.2.3"),
    "drop_suffix": _sample("drop_suffix: .0", "42.0", "42"),
    "newline_to": _sample("newline_to: ' '", "left\nside", "left side"),
    "template": _sample("template: '{PV1-3.1}/{}'", "B7", "WARD/B7"),
    "ascii_fold": _sample("ascii_fold", "Müller", "Muller"),
    "strip_leading_zeros": _sample("strip_leading_zeros", "0042", "42"),
    "first": _sample("first", "a~b", "a"),
    "last": _sample("last", "a~b", "b"),
    "nth": _sample("nth: 2", "a~b~c", "b"),
    "unique": _sample("unique", "a~b~a", "a~b"),
    "longest": _sample("longest", "CT~CT head", "CT head"),
    "filter": _sample("filter: '^R'", "R1~X2~R3", "R1~R3"),
    "constant": _sample("constant: '3'", "B6", "3"),
    "lookup_site": _sample("lookup_site: facility", "x", "HOSP"),
    "table": _sample("table: rooms", "RM2", "CT_ROOM2"),
    "null_to_empty": _sample("null_to_empty", 'a~""', "a"),
    "date": _sample("date", "1980-02-14", "19800214"),
    "datetime": _sample("datetime", "20260315101500", "2026-03-15T10:15:00-05:00"),
    "time": _sample("time", "10:15", "101500"),
    "now": _sample("now", "x", "2026-03-14T09:30:15-05:00"),
    "age_from": _sample("age_from", "19800214", "046Y"),
    "add_minutes": _sample("add_minutes: 30", "2026-03-15T10:15:00-05:00", "2026-03-15T10:45:00-05:00"),
    "name_xpn": _sample("name_xpn", "DOE^JANE^Q^JR^DR", "DOE^JANE^Q^DR^JR"),
    "name_xcn": _sample("name_xcn", "7654^HOUSE^GREGORY^^^DR", "HOUSE^GREGORY^^DR"),
    "name_cnn": _sample("name_cnn", "9^HOUSE^GREGORY^^^DR", "HOUSE^GREGORY^^DR"),
    "name_fhir": _sample("name_fhir", '{"family": "Doe", "given": ["Jane", "Q"]}', "Doe^Jane^Q"),
    "name_text": _sample("name_text", "Doe, Jane Q", "Doe^Jane^Q"),
    "initials": _sample("initials", "Doe", "D"),
    "code": _sample(
        "code",
        "71046^CHEST 2V^C4",
        '{"CodeValue": "71046", "CodingSchemeDesignator": "C4", "CodeMeaning": "CHEST 2V"}',
    ),
    "code_alt": _sample(
        "code_alt",
        "X1^Chest^L^36643-5^XR Chest 2V^LN",
        '{"CodeValue": "36643-5", "CodingSchemeDesignator": "LN", "CodeMeaning": "XR Chest 2V"}',
    ),
    "coding": _sample(
        "coding: {system: 'http://loinc.org'}",
        '{"coding": [{"system": "urn:x", "code": "1"},'
        ' {"system": "http://loinc.org", "code": "24558-9", "display": "US"}]}',
        '{"CodeValue": "24558-9", "CodingSchemeDesignator": "LN", "CodeMeaning": "US"}',
    ),
    "modality_from_code": _sample("modality_from_code", "CTABD^CT abdomen^L", "CT"),
    "ei": _sample("ei: oid", "P1^EPIC^1.2.3^ISO", "1.2.3"),
    "cx": _sample("cx: authority", "MRN123^^^GENHOSP^MR", "GENHOSP"),
    "uid": _sample("uid", "urn:oid:1.2.3", "1.2.3"),
    "oid_from_urn": _sample("oid_from_urn", "urn:oid:1.2.3", "1.2.3"),
    "uid_from": _sample("uid_from: AccessionNumber", "x", "2.25.266612920620147522843524300735454261230"),
    "hash": _sample("hash: 8", "MRN123", "6080B0F8"),
    "phone": _sample("phone", "^PRN^PH^^1^555^1234567", "+1 555 1234567"),
    "address": _sample(
        "address",
        "1 High St^Flat 2^Springfield^IL^62701^USA",
        "1 High St, Flat 2, 62701 Springfield, IL, USA",
    ),
    "number": _sample("number: {from: lb, to: kg, decimals: 1}", "154", "69.9"),
    "bool": _sample("bool: {yes: 'YES', no: 'NO'}", "y", "YES"),
    "sex": _sample("sex", "female", "F"),
    "unescape_text": _sample("unescape_text", "R\\T\\D", "R&D"),
}
