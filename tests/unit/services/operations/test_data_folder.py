"""The data folder at start: what may be deleted, and who can read it."""

import logging
from pathlib import Path

import pytest

from services.errors import ConfigurationError
from services.operations.data_folder import FOLDERS, MARKER, claim, restrict_access


def marked(data_dir: Path) -> list[str]:
    return [name for name in FOLDERS if (data_dir / name / MARKER).is_file()]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_an_empty_folder_is_marked(tmp_path: Path, known: bool, there: bool) -> None:
    if there:
        for name in FOLDERS:
            (tmp_path / "data" / name).mkdir(parents=True)
    claim(tmp_path / "data", known=known)
    assert marked(tmp_path / "data") == list(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_files_of_others_are_not_taken_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "2024").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=rf"{name} has files .*DATA_DIR"):
            claim(tmp_path, known=False)
    assert name not in marked(tmp_path)
    # An earlier version of ours has left them.
    claim(tmp_path, known=True)
    assert marked(tmp_path) == list(FOLDERS)


def test_a_marked_folder_stays_ours_without_its_database(tmp_path: Path) -> None:
    claim(tmp_path, known=False)
    (tmp_path / "songs/1").mkdir()
    claim(tmp_path, known=False)


def test_other_files_in_the_data_folder_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "songs/lost+found").mkdir(parents=True)
    (tmp_path / "songs.db").write_bytes(b"")
    claim(tmp_path, known=False)
    assert (tmp_path / "lost+found").is_dir()


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def open_files(folder: Path) -> list[Path]:
    """Create the database's files with read access for everybody."""
    files = [folder / f"songs.db{end}" for end in ("", "-wal", "-shm")]
    for file in files:
        file.touch()
        file.chmod(0o644)
    return files


def test_access_of_other_users_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = open_files(tmp_path)
    folders = [tmp_path / name for name in FOLDERS]
    for folder in folders:
        folder.mkdir()
        folder.chmod(0o755)
    (tmp_path / "heartbeat").touch()
    (tmp_path / "heartbeat").chmod(0o644)
    restrict_access(tmp_path / "songs.db", tmp_path)
    assert [rights(file) for file in files] == [0o600] * 3
    assert [rights(folder) for folder in folders] == [0o700] * 2
    assert rights(tmp_path / "heartbeat") == 0o644  # contains nothing
    assert caplog.records == []


def test_access_to_the_target_of_a_link_is_removed(tmp_path: Path) -> None:
    """SQLite keeps its log next to the file, not next to the link."""
    (tmp_path / "real").mkdir()
    files = open_files(tmp_path / "real")
    (tmp_path / "songs.db").symlink_to(files[0])
    restrict_access(tmp_path / "songs.db", tmp_path)
    assert [rights(file) for file in files] == [0o600] * 3


def test_files_of_another_owner_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    open_files(tmp_path)
    monkeypatch.setattr(Path, "chmod", refuse)
    restrict_access(tmp_path / "songs.db", tmp_path)
    record = caplog.records[0]
    assert record.levelno == logging.WARNING
    assert record.getMessage().endswith(
        "songs.db, and that can't be changed: Operation not permitted"
    )


def test_a_file_system_without_rights_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """FAT, or a share of another machine: the change is taken, and not made."""
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs").chmod(0o755)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    restrict_access(tmp_path / "songs.db", tmp_path)
    assert "has no permissions" in caplog.text


def test_windows_has_no_such_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs").chmod(0o755)
    monkeypatch.setattr("services.operations.data_folder.os.name", "nt")
    restrict_access(tmp_path / "songs.db", tmp_path)
    monkeypatch.undo()
    assert rights(tmp_path / "songs") == 0o755
