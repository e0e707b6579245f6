"""HL7 v2 at the edge: frames, character sets, acknowledgements."""
