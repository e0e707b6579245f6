"""DICOM at the edge: the worklist and the storage service."""
