"""A file that is written again keeps its permissions, owner, links and attributes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import hidden
from folders import ROOT

from rrm_env.files import WriteError, check_writable, write_whole, write_whole_at

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions and links of POSIX")
as_administrator = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become another user"
)


def put(path: Path, content: bytes = b"new") -> None:
    write_whole(path, lambda file: file.write(content))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def as_nobody(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program as a user who owns nothing, in group 65534."""
    switch = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    command = [
        sys.executable,
        "-c",
        FILES_ALONE + switch + program,
        str(ROOT),
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user may write to, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


# Loaded before the user changes, who may not even read this checkout.
FILES_ALONE = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("files", sys.argv[1] + "/rrm_env/files.py")
files = importlib.util.module_from_spec(spec)
sys.modules["files"] = files
spec.loader.exec_module(files)
put = lambda path: files.write_whole(Path(path), lambda file: file.write(b"new"))
"""


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o664, 0o666, 0o755])
def test_permissions_stay(permissions: int, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")
    path.chmod(permissions)
    put(path)
    assert path.read_bytes() == b"new"
    assert mode(path) == permissions


def test_new_files_get_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    with umask(0o027):
        put(tmp_path / "out.json")
    assert mode(tmp_path / "out.json") == 0o640


def test_content_of_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")
    path.chmod(0o600)
    seen: list[int] = []

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"secret")
        seen.append(mode(temporary))

    write_whole_at(path, write)
    assert seen == [0o600]


@as_administrator
def test_owner_and_group_stay(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    path.chmod(0o640)
    put(path)
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (1234, 4321, 0o640)


@as_administrator
def test_a_group_that_cannot_be_kept_does_not_give_its_rights_to_another(
    public_folder: Path,
) -> None:
    path = public_folder / "out.json"
    path.write_bytes(b"old")
    path.chmod(0o664)
    os.chown(path, 65534, 4321)
    done = as_nobody("put(sys.argv[2])", path)
    assert done.returncode == 0, done.stderr
    assert (path.read_bytes(), path.stat().st_gid, mode(path)) == (b"new", 65534, 0o644)


@as_administrator
@pytest.mark.parametrize("check", ["put(sys.argv[2])", "files.check_writable('path', sys.argv[2])"])
def test_write_protected_files_are_refused(check: str, public_folder: Path) -> None:
    path = public_folder / "out.json"
    path.write_bytes(b"old")
    path.chmod(0o444)
    done = as_nobody(check, path)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr.splitlines()[-1]
    assert path.read_bytes() == b"old"
    assert hidden(public_folder) == []


def test_symbolic_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "data.bin", tmp_path / "out.json"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(Path("store") / "data.bin")
    check_writable("path", link)
    put(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert mode(target) == 0o600
    assert hidden(tmp_path) == []


def test_temporary_file_lies_beside_the_target_and_ends_as_the_link_does(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "episode.mp4").symlink_to(tmp_path / "store" / "blob")
    used: list[Path] = []

    def write(temporary: Path) -> None:
        used.append(temporary)
        temporary.write_bytes(b"film")

    write_whole_at(tmp_path / "episode.mp4", write)
    assert (used[0].parent, used[0].suffix) == (tmp_path / "store", ".mp4")
    assert (tmp_path / "store" / "blob").read_bytes() == b"film"


def test_link_to_what_does_not_exist_yet_makes_it(tmp_path: Path) -> None:
    link = tmp_path / "out.json"
    link.symlink_to(tmp_path / "later.json")
    check_writable("path", link)
    put(link)
    assert link.is_symlink()
    assert (tmp_path / "later.json").read_bytes() == b"new"


def test_links_that_lead_nowhere_are_refused_and_stay(tmp_path: Path) -> None:
    circle, lost = tmp_path / "circle.json", tmp_path / "lost.json"
    circle.symlink_to(circle)
    lost.symlink_to(tmp_path / "missing" / "out.json")
    for link in (circle, lost):
        with pytest.raises(WriteError, match=str(link)):
            put(link)
        with pytest.raises(ValueError, match=f"path = '{link}'"):
            check_writable("path", link)
        assert link.is_symlink()


def test_other_names_of_a_file_keep_the_old_content(tmp_path: Path) -> None:
    path, other = tmp_path / "out.json", tmp_path / "copy.json"
    path.write_bytes(b"old")
    os.link(path, other)
    put(path)
    assert (path.read_bytes(), other.read_bytes()) == (b"new", b"old")


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    before = stat.S_IFMT(path.stat().st_mode)
    with pytest.raises(WriteError, match=r"is a (folder|device or a pipe)"):
        put(path)
    assert stat.S_IFMT(path.stat().st_mode) == before
    assert hidden(tmp_path) == []


def test_extended_attributes_stay(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.source", b"mine")
    except (AttributeError, OSError):
        pytest.skip("this file system has no extended attributes")
    put(path)
    assert os.getxattr(path, "user.source") == b"mine"
