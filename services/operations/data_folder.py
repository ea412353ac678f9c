"""What the start sees to in the data folder: what may be deleted there, and who may read it."""

import logging
import os
from pathlib import Path

from services.errors import ConfigurationError

log = logging.getLogger(__name__)

FOLDERS = ("songs", "exports")
"""Nothing is deleted from any other folder."""
MARKER = ".songwright"
_OF_EXT4 = "lost+found"
"""Stands in the root of each such volume, also of one that is mounted right here."""
_TEXT = "Songwright keeps files here and deletes them. Don't put anything else into this folder.\n"


def claim(data_dir: Path, *, known: bool) -> None:
    """Mark the folders that the bot deletes from as its own, and make those that are missing.

    `known`: there was a database of Songwright's before this start, so what lies there is its own.

    Raises:
        ConfigurationError: a folder has files in it that may be somebody else's.
        OSError: a folder or its marker can't be made.
    """
    for folder in (data_dir / name for name in FOLDERS):
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / MARKER
        if marker.exists():
            continue
        if not known and any(file.name != _OF_EXT4 for file in folder.iterdir()):
            raise ConfigurationError(
                f"{folder} holds files that may not be Songwright's, and the bot deletes from that "
                "folder. Move them elsewhere, or set DATA_DIR to another folder."
            )
        try:
            marker.write_text(_TEXT, encoding="ascii")
        except OSError as error:  # of a full disk, which does not say where
            raise OSError(error.errno, error.strerror, str(marker)) from error


def close_to_others(database_path: Path, data_dir: Path) -> None:
    """Let only the bot's user read what members wrote, and the tokens of songs under way.

    For what an earlier version, or another `umask`, has left open. Where the files are another
    user's, or the file system has no such rights, there is a warning. Windows has none of this.
    """
    if os.name == "nt":
        return
    for name in ("", "-wal", "-shm"):
        # Of a link, SQLite keeps the others beside what it leads to.
        real_path = database_path.resolve()
        _close(real_path.with_name(real_path.name + name), 0o600)
    for name in FOLDERS:
        _close(data_dir / name, 0o700)


def _close(path: Path, mode: int) -> None:
    try:
        if not _is_open(path):
            return
        path.chmod(mode)
        # Some file systems take a change and don't make it.
        why = "the file system does not keep rights" if _is_open(path) else ""
    except FileNotFoundError:
        return
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        log.warning(
            "other users of this machine can open %s, and that can't be changed: %s", path, why
        )


def _is_open(path: Path) -> bool:
    return path.stat().st_mode & 0o077 != 0
