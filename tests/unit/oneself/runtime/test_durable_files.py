"""Files that survive a power cut whole."""

import errno
import os
import stat

import pytest

from oneself.runtime.durable_files import make_folder, put, sync, write


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_file_is_kept_with_its_new_parent_folders(disk, tmp_path):
    """DB-04: each name is in another folder, and each folder has to be synced."""
    path = tmp_path / "outer" / "inner" / "file"
    make_folder(path.parent)
    write(path.with_suffix(".part"), b"whole")
    assert not disk.keeps(path.with_suffix(".part"))
    put(path.with_suffix(".part"), path)
    assert path.read_bytes() == b"whole"
    assert disk.keeps(path)


def test_put_replaces_the_previous_file(disk, tmp_path):
    path, part = tmp_path / "file", tmp_path / "part"
    for content in (b"former", b"present"):
        write(part, content)
        put(part, path)
    assert path.read_bytes() == b"present"
    assert disk.keeps(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_make_folder_accepts_a_folder_and_rejects_a_file(tmp_path):
    make_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_written_file_is_private(tmp_path):
    """TK-03: with any mode of the previous file."""
    make_folder(tmp_path / "folder")
    path = tmp_path / "folder" / "file"
    path.touch(0o666)
    write(path, b"secret")
    assert _mode(path) == 0o600
    assert _mode(path.parent) == 0o700


def test_link_is_not_followed(tmp_path):
    """TK-03: it could lead to where another user can read the secret."""
    (tmp_path / "elsewhere").write_bytes(b"untouched")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "file", b"secret")
    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"
    assert not (tmp_path / "file").is_symlink()


@pytest.fixture
def failing(monkeypatch):
    """Makes each sync fail with an error number."""

    def failing(reason):
        def fsync(_descriptor):
            raise OSError(reason, os.strerror(reason))

        monkeypatch.setattr(os, "fsync", fsync)

    return failing


@pytest.mark.parametrize("reason", [errno.EINVAL, errno.ENOTSUP])
def test_unsupported_sync_of_a_folder_is_ignored(failing, tmp_path, reason):
    """fsync(2): but not of a file."""
    (tmp_path / "file").touch()
    failing(reason)
    sync(tmp_path)
    with pytest.raises(OSError, match=os.strerror(reason)):
        sync(tmp_path / "file")


@pytest.mark.parametrize("reason", [errno.EIO, errno.ENOSPC])
def test_failed_sync_names_the_file(failing, tmp_path, reason):
    """DB-06: a partial file is not left."""
    failing(reason)
    with pytest.raises(OSError, match=os.strerror(reason)) as failed:
        sync(tmp_path)
    assert failed.value.filename == str(tmp_path)
    with pytest.raises(OSError, match=os.strerror(reason)) as failed:
        write(tmp_path / "file", b"content")
    assert failed.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
