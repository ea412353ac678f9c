"""The data folder at start: what may be deleted there, and who may read it."""

import logging
import os
from pathlib import Path

from services.errors import ConfigurationError

log = logging.getLogger(__name__)

FOLDERS = ("songs", "exports")
"""The folders that files are deleted from."""
MARKER = ".songwright"
_EXT4_FOLDER = "lost+found"
"""Exists in the root of each ext4 volume, which may be mounted here."""
_TEXT = "Songwright stores and deletes files here. Don't put other files into this folder.\n"


def claim(data_dir: Path, *, known: bool) -> None:
    """Create the folders that the bot deletes files from, and mark them as the bot's.

    `known`: a database existed before this start, so files in the folders are the bot's.

    Raises:
        ConfigurationError: a folder has files that may not be the bot's.
        OSError: a folder or its marker can't be created.
    """
    for folder in (data_dir / name for name in FOLDERS):
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / MARKER
        if marker.exists():
            continue
        if not known and any(file.name != _EXT4_FOLDER for file in folder.iterdir()):
            raise ConfigurationError(
                f"{folder} has files that may not be Songwright's, and the bot deletes files "
                "there. Move them elsewhere, or set DATA_DIR to another folder."
            )
        try:
            marker.write_text(_TEXT, encoding="ascii")
        except OSError as error:  # ENOSPC comes without the path
            raise OSError(error.errno, error.strerror, str(marker)) from error


def song_folders(songs_dir: Path) -> dict[int, Path]:
    """Return the folders of songs by id; anything else there is not the bot's."""
    inside = songs_dir.iterdir() if songs_dir.is_dir() else ()
    return {int(f.name): f for f in inside if f.name.isdecimal() and f.is_dir()}


def restrict_access(database_path: Path, data_dir: Path) -> None:
    """Let only the bot's user read members' texts and the tokens of songs in progress.

    For files from an earlier version or with another `umask`. If the files are another user's, or
    the file system has no permissions, a warning is logged. Windows has no such permissions.
    """
    if os.name == "nt":
        return
    for name in ("", "-wal", "-shm"):
        # SQLite keeps the other two next to the target of a symbolic link.
        real_path = database_path.resolve()
        _restrict(real_path.with_name(real_path.name + name), 0o600)
    for name in FOLDERS:
        _restrict(data_dir / name, 0o700)


def _restrict(path: Path, mode: int) -> None:
    try:
        if not _is_open(path):
            return
        path.chmod(mode)
        # Some file systems accept a change without making it.
        reason = "the file system has no permissions" if _is_open(path) else ""
    except FileNotFoundError:
        return
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        log.warning(
            "other users of this machine can open %s, and that can't be changed: %s", path, reason
        )


def _is_open(path: Path) -> bool:
    return path.stat().st_mode & 0o077 != 0
