"""FHIR at the edge: orders in, studies out."""
