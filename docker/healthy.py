"""Exit status 0 when the gateway of this container answers, else 1; its configuration is the argument.

It reads the two keys that matter by itself: the gateway's own settings take a second of processor time to load, which
is much for something that happens twice a minute.
"""

import http.client
import os
import ssl
import sys
import tomllib
from pathlib import Path

config = Path(sys.argv[1])
section = tomllib.loads(config.read_text(encoding="utf-8")).get("http", {}) if config.exists() else {}
chosen = {name.upper(): value for name, value in os.environ.items()}
port = int(chosen.get("GATEWAY_HTTP__PORT") or section.get("port", 5000))
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
if "tls" in section or any(name.startswith("GATEWAY_HTTP__TLS") for name in chosen):
    # The certificate bears the name that others know the host by, and nothing is asked but whether it lives.
    context = ssl._create_unverified_context()  # noqa: S323
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=context)
try:
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
except (OSError, http.client.HTTPException):
    status = 0
raise SystemExit(status != http.HTTPStatus.OK)
