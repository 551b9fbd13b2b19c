"""Files that a power cut leaves whole."""

import errno
import os
import stat

import pytest

from oneself.runtime.durable_files import make_folder, put, sync, write


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_put_is_kept_with_the_folders_that_it_is_in(disk, tmp_path):
    """DB-04: each name is in another folder, and each of these has to be synced."""
    path = tmp_path / "outer" / "inner" / "file"
    make_folder(path.parent)
    write(path.with_suffix(".part"), b"whole")
    assert not disk.keeps(path.with_suffix(".part"))
    put(path.with_suffix(".part"), path)
    assert path.read_bytes() == b"whole"
    assert disk.keeps(path)


def test_what_is_put_takes_the_place_of_what_was_there(disk, tmp_path):
    path, part = tmp_path / "file", tmp_path / "part"
    for content in (b"former", b"present"):
        write(part, content)
        put(part, path)
    assert path.read_bytes() == b"present"
    assert disk.keeps(path)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_is_there_already_is_no_folder_to_make(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_nobody_else_reads_what_is_written(tmp_path):
    """TK-03: whatever the mode of what was there."""
    make_folder(tmp_path / "folder")
    path = tmp_path / "folder" / "file"
    path.touch(0o666)
    write(path, b"secret")
    assert _mode(path) == 0o600
    assert _mode(path.parent) == 0o700


def test_a_link_is_not_followed(tmp_path):
    """TK-03: to where whoever has put it there could read along."""
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "file", b"secret")
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert not (tmp_path / "file").is_symlink()


@pytest.fixture
def failing(monkeypatch):
    """Has each sync fail for a reason."""

    def failing(reason):
        def fsync(_descriptor):
            raise OSError(reason, os.strerror(reason))

        monkeypatch.setattr(os, "fsync", fsync)

    return failing


@pytest.mark.parametrize("reason", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_keeps_names_by_itself_need_not_be_asked(failing, tmp_path, reason):
    """fsync(2): but a file it has to keep."""
    (tmp_path / "file").touch()
    failing(reason)
    sync(tmp_path)
    with pytest.raises(OSError, match=os.strerror(reason)):
        sync(tmp_path / "file")


@pytest.mark.parametrize("reason", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_no_success(failing, tmp_path, reason):
    """DB-06: it says which file it was, and half of one is not left."""
    failing(reason)
    with pytest.raises(OSError, match=os.strerror(reason)) as failed:
        sync(tmp_path)
    assert failed.value.filename == str(tmp_path)
    with pytest.raises(OSError, match=os.strerror(reason)) as failed:
        write(tmp_path / "file", b"content")
    assert failed.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
