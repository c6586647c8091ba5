"""Files are written whole or not at all, whatever goes wrong."""

import errno
import gzip
from pathlib import Path

import pytest

from headtail import files
from headtail.errors import HeadtailError
from headtail.files import atomic_writer

SUFFIXES = ["", ".gz"]


def put(path: Path, content: str) -> Path:
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("when", ["in the block", "at the end"])
def test_a_full_disk_leaves_what_stood_there(tmp_path, monkeypatch, suffix, when):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = put(tmp_path / f"out{suffix}", "before")
    stood = path.read_bytes()
    if when == "at the end":
        monkeypatch.setattr(files.os, "fsync", full)

    def write():
        with atomic_writer(path) as out:
            out.write("after")
            if when == "in the block":
                full()

    with pytest.raises(HeadtailError) as caught:
        write()
    assert str(caught.value) == f"no room on disk: {path} was not written, what stood there is untouched"
    assert path.read_bytes() == stood
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_write_leaves_what_stood_there(tmp_path, suffix):
    path = put(tmp_path / f"out{suffix}", "before")
    stood = path.read_bytes()

    def write():
        with atomic_writer(path) as out:
            out.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_bytes() == stood
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_writer_makes_folders_and_equal_texts_give_equal_bytes(tmp_path):
    for name in ("a/x.gz", "b/c/y.gz"):
        with atomic_writer(tmp_path / name) as out:
            out.write("é\n")
    assert (tmp_path / "a/x.gz").read_bytes() == (tmp_path / "b/c/y.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a/x.gz").read_bytes()) == "é\n".encode()


def test_the_writer_follows_a_link_and_refuses_what_is_no_regular_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_writer(tmp_path / "link") as out:
        out.write("x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "x"
    with pytest.raises(HeadtailError) as caught, atomic_writer(tmp_path):
        pass
    assert str(caught.value) == f"cannot write {tmp_path}: it is no regular file"


def test_a_folder_that_is_a_file_cannot_hold_one(tmp_path):
    put(tmp_path / "file", "x")
    with pytest.raises(HeadtailError) as caught, atomic_writer(tmp_path / "file" / "out"):
        pass
    assert str(caught.value) == f"cannot write {tmp_path}/file/out: {tmp_path}/file is a file, not a folder"
