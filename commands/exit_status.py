"""The exit status of terminal commands, and the sentences of those that fail."""

import asyncio
import errno
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import discord

from cogs.client.texts import refusal_text
from db.errors import NO_ROOM, DatabaseFileError, SchemaTooNewError, SchemaTooOldError
from services.errors import AlreadyRunning, ConfigurationError, Refusal

log = logging.getLogger("songwright")

FAILED = 1
WRONG_INPUT = 2
"""A setting or an argument has to be corrected before the same command can succeed."""
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_FOLDER = (errno.EEXIST, errno.ENOTDIR)
"""There is something else where a folder is expected."""
SELF_EXPLANATORY = (AlreadyRunning, SchemaTooOldError, SchemaTooNewError, DatabaseFileError)
"""Errors whose text says what is wrong and what to do."""
EXTERNAL = (
    *SELF_EXPLANATORY,
    sqlite3.Error,
    OSError,
    aiohttp.ClientError,
    discord.HTTPException,
    discord.GatewayNotFound,
)
"""Errors of the disk, the network or Discord: the operator needs no trace."""


def status_of(command: Callable[[], int]) -> int:
    """Run a command and return its exit status, also if it raises."""
    try:
        return command()
    except Refusal as error:
        return reject(refusal_text(error))
    except ConfigurationError as error:
        return reject(str(error))
    except EXTERNAL as error:
        log.critical("can't run: %s", describe(error), exc_info=log.isEnabledFor(logging.DEBUG))
    except Exception:
        log.critical("a defect has ended the bot", exc_info=True)
    return FAILED


def reject(text: str) -> int:
    """Print what has to be corrected and return the exit status."""
    print(text, file=sys.stderr)
    return WRONG_INPUT


def run_printing(work: Coroutine[Any, Any, int]) -> int:
    """Run a command that prints; return FAILED if the pipe was closed, as by `| head`."""
    try:
        status = asyncio.run(work)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would flush once more at its end, and complain ("Note on SIGPIPE", its docs).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return status


def describe(error: Exception) -> str:
    """Say what is wrong and, if it is known, what to do."""
    if isinstance(error, SELF_EXPLANATORY):
        return str(error)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return (
            f"{error.filename or 'a file'} can't be written: {error.strerror}. Make room on that "
            "disk, then run this again."
        )
    if isinstance(error, OSError) and error.filename and error.errno in NOT_ALLOWED:
        return (
            f"{error.filename} can't be used: {error.strerror}. Let the bot's user read and write "
            "it and its folder, then run this again."
        )
    if isinstance(error, OSError) and error.filename and error.errno in NO_FOLDER:
        return (
            f"{error.filename} can't be used: it is a file, but a folder is expected. Move it, or "
            "set DATABASE_URL and DATA_DIR to other paths."
        )
    return f"{type(error).__name__}: {error}"
