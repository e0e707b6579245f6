"""DICOMweb, read only: what is stored is found (QIDO-RS) and retrieved (WADO-RS). Source: DICOM PS3.18 10.4, 10.6."""

ROOT = "/dicom-web"
