from pathlib import Path

import pytest

from gateway.model.errors import Unavailable
from gateway.model.ids import Uid
from gateway.store.files import Files


def test_a_kept_file_stands_under_a_name_no_peer_chose(tmp_path: Path) -> None:
    files = Files(tmp_path / "images")
    written = files.incoming / "x.part"
    written.write_bytes(b"image")
    files.settle(written).wait()
    path = files.keep(written, Uid("1.2/../../x"), Uid("CON"))
    assert files.path(path).read_bytes() == b"image"
    assert files.path(path).resolve().is_relative_to((tmp_path / "images").resolve())
    assert not written.exists()


def test_one_process_receives_and_finds_nothing_half_written(tmp_path: Path) -> None:
    files, second = Files(tmp_path), Files(tmp_path)
    (files.incoming / "left.part").write_bytes(b"half")
    files.take()
    assert list(files.incoming.iterdir()) == []
    with pytest.raises(Unavailable, match="another gateway"):
        second.take()
    files.release()
    second.take()
    second.release()


def test_a_thumbnail_stands_beside_its_object_and_discarding_is_safe_twice(tmp_path: Path) -> None:
    files = Files(tmp_path)
    written = files.incoming / "x.part"
    written.write_bytes(b"image")
    path = files.keep(written, Uid("1"), Uid("2"))
    thumbnail = files.keep_thumbnail(path, b"picture")
    assert files.path(thumbnail).parent == files.path(path).parent
    assert files.path(thumbnail).read_bytes() == b"picture"
    files.discard(path)
    files.discard(path)
    assert not files.path(path).exists()
