"""A certificate authority of our own, by the openssl command."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates, by the openssl command."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.itself = self._made(name, f"/CN={name}", "-x509", "-days", "2", suffix="pem")

    def sign(self, name: str, subject: str, *, days: int = 2) -> Owner:
        """A certificate for this computer's loopback address and for a client alike."""
        asked = self._made(name, subject, "-new", suffix="csr")
        extension = self._folder / "extension.cnf"
        extension.write_text("subjectAltName=IP:127.0.0.1\n")
        signed = self._folder / f"{name}.pem"
        openssl(
            "x509", "-req", "-in", asked.certificate, "-CA", self.itself.certificate, "-CAkey", self.itself.key,
            "-CAcreateserial", "-days", str(days), "-extfile", extension, "-out", signed,
        )  # fmt: skip
        return Owner(certificate=signed, key=asked.key)

    def _made(self, name: str, subject: str, *how: str, suffix: str) -> Owner:
        made = Owner(certificate=self._folder / f"{name}.{suffix}", key=self._folder / f"{name}.key")
        openssl(
            "req", *how, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", subject, "-keyout", made.key, "-out", made.certificate,
        )  # fmt: skip
        return made


def openssl(*arguments: str | Path) -> None:
    """The command ran. Raises CalledProcessError."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)
