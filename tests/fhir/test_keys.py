import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette

from gateway.cli import main
from gateway.fhir import jwks
from gateway.fhir.keys import key_set, make_key, public_pem, read_key
from gateway.model.errors import Conflict, Invalid


@pytest.mark.parametrize("kind", ["RS384", "ES384"])
def test_a_new_key_is_its_owners_alone(tmp_path: Path, kind: Any) -> None:
    file = tmp_path / "key.pem"
    key = make_key(file, kind)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_key(file).kid == key.kid
    assert b"PRIVATE" in file.read_bytes()
    with pytest.raises(Conflict, match="not written over"):
        make_key(file, kind)


@pytest.mark.parametrize("kind", ["RS384", "ES384"])
def test_nothing_private_is_published(tmp_path: Path, kind: Any) -> None:
    file = tmp_path / "key.pem"
    key = make_key(file, kind)
    (published,) = key_set([file, file])["keys"]
    expected = {"kty", "kid", "use", "alg"} | ({"n", "e"} if kind == "RS384" else {"crv", "x", "y"})
    assert set(published) == expected
    assert (published["kid"], published["alg"]) == (key.kid, kind)
    assert "PRIVATE" not in public_pem(key)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "no RSA or EC private key"),
        (b"hello", "no RSA or EC private key"),
        (ECKey.generate_key("P-256").as_pem(private=True), "P-384"),
        (ECKey.generate_key("P-384").as_pem(private=False), "public key"),
        (RSAKey.generate_key(2048).as_pem(private=False), "public key"),
    ],
)
def test_a_key_of_no_use_is_said_so(tmp_path: Path, content: bytes, fault: str) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(Invalid, match=fault):
        read_key(file)


def _published(file: Path) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=Starlette(routes=[*jwks.routes((file,))]))
        async with httpx.AsyncClient(transport=transport, base_url="http://gw") as client:
            return await client.get("/.well-known/jwks.json")

    return asyncio.run(ask())


def test_the_keys_are_read_by_anybody(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    make_key(file, "ES384")
    assert _published(file).json() == key_set([file])
    file.unlink()
    assert _published(file).status_code == 503
    assert jwks.routes(()) == []


def test_the_command_makes_and_shows_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key.pem"
    for words in (["fhir", "key", "new", str(file)], ["fhir", "key", "show", str(file)]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    first, second = capsys.readouterr().out.split("}\n{")
    assert json.loads(first + "}") == json.loads("{" + second) == key_set([file])
    with pytest.raises(SystemExit):
        main(["fhir", "key", "show", "--pem", str(file)])
    assert capsys.readouterr().out.strip() == public_pem(read_key(file)).strip()
