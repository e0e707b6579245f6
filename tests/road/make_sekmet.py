"""Installs the EHR that tests/road/test_sekmet.py talks to into a folder: `python make_sekmet.py FOLDER`.

It has an environment of its own: its dependencies are not ours. Needs a package index. A folder that is whole is left
as it is.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

PACKAGE = "sekmet-fhir==0.1.1"
_WHOLE = "whole"


def make(folder: Path) -> None:
    """The folder is an environment with the program `sekmet`."""
    if (folder / _WHOLE).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin/python", "-m", "pip", "-q", "install", PACKAGE], check=True, timeout=600)
    (folder / _WHOLE).touch()


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]).absolute())
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"sekmet-fhir cannot be installed: {error}")
