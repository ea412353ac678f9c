"""A lock that one process has until it ends, however it ends."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from db import process_lock
from db.errors import LocksUnsupportedError
from db.process_lock import ProcessLock

ROOT = Path(process_lock.__file__).parents[1]
HOLDS = """
import subprocess, sys, time
from pathlib import Path
from db.process_lock import ProcessLock
assert ProcessLock(Path(sys.argv[1])).acquire()
# As careless as a program can be started: with every descriptor that may be inherited.
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
print(child.pid, flush=True)
time.sleep(60)
"""


def test_one_has_it_until_it_is_released(tmp_path: Path) -> None:
    first, second = (ProcessLock(tmp_path / "lock") for _ in range(2))
    assert first.acquire()
    assert not second.acquire()
    second.release()  # which does nothing
    assert not second.acquire()
    first.release()
    assert second.acquire()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    second.release()


def test_a_killed_process_has_it_no_longer_while_its_children_live(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(lock.path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            assert not lock.acquire()
            holder.kill()
            holder.wait()
            os.kill(child, 0)  # it is still there
            assert lock.acquire()
        finally:
            os.kill(child, signal.SIGKILL)
    lock.release()


def test_a_symbolic_link_leads_to_the_same_lock(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/songs.db").touch()
    (tmp_path / "link.db").symlink_to("real/songs.db")
    expected = tmp_path.resolve() / "real/songs.db.lock"
    assert ProcessLock.for_file(tmp_path / "link.db").path == expected
    assert ProcessLock.for_file(tmp_path / "real/songs.db").path == expected


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_locks_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(process_lock, "_lock", refuse)
    with pytest.raises(LocksUnsupportedError) as caught:
        ProcessLock(tmp_path / "lock").acquire()
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "lock"))


def test_other_errors_are_not_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(FileNotFoundError, match="nowhere"):
        ProcessLock(tmp_path / "nowhere/lock").acquire()
    monkeypatch.setattr(process_lock, "_lock", fail)
    with pytest.raises(OSError, match="Input/output"):
        ProcessLock(tmp_path / "lock").acquire()
