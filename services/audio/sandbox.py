"""The sandbox of the process that decodes foreign bytes, entered once its files are open.

No library is used: those on the package index load a system library that may be missing, or start a
compiler to find it. The numbers are from Linux's headers: landlock.h, seccomp.h, unistd.h.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_GET_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""By version of Landlock: the number of access rights on files, each a bit, lowest first."""
_TCP_RIGHTS, _SCOPES = 0b11, 0b11  # bind, connect; abstract sockets, signals
_TCP_SINCE, _SCOPES_SINCE = 4, 6

_MACHINES = {"x86_64": (0xC000003E, 126), "aarch64": (0xC00000B7, 91)}
"""The audit number of an architecture, and its number of `capset`."""
_DENIED = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "setpriority": (141, 140), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "sched_setaffinity": (203, 122), "ioprio_set": (251, 30),
    # Landlock has no right for these: the owner could make the files inaccessible to the bot.
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "truncate": (76, 45),
    # What no resource limit counts: space behind the end of a file, and files in memory.
    "fallocate": (285, 47), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "unshare": (272, 97), "setns": (308, 268),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
}  # fmt: skip
_OF_ITSELF = {"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131)}
_CLONE, _CLONE3, _PRLIMIT = (56, 220), (435, 435), (302, 261)
_FCNTL = (72, 25)
_SET_OWNER = (8, 15)  # F_SETOWN, F_SETOWN_EX: whom the kernel signals when a file is ready
_CLONE_THREAD = 0x10000
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_X32 = 0x40000000  # x86_64 has a second set of numbers from here on
_LOAD, _EQUAL, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The active parts. `landlock` is the kernel's version of it, 0 without."""

    landlock: int
    seccomp: bool


def enter() -> Sandbox:
    """Drop permanently the rights that decoding does not need, as far as the system supports it.

    Open files stay open. Landlock (Linux 5.13): only Python's code and the system's libraries can
    be opened, for reading, so neither `.env` nor `/proc` with the parent's environment; nothing can
    be written, removed or started; no TCP (6.7). Seccomp (x86_64, aarch64): no sockets, programs,
    processes, signals to others, or changes of a file's owner or mode. Capabilities are dropped,
    also root's.

    Raises:
        OSError: the kernel supports it and refuses anyway.
        RuntimeError: another thread is running, which would not be restricted.
    """
    if sys.platform != "linux":
        return Sandbox(0, seccomp=False)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise RuntimeError("the sandbox must be entered before any thread starts")
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    version = _landlock(libc)
    return Sandbox(version, seccomp=_seccomp(libc))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# --- Landlock -------------------------------------------------------------------------------------


def _landlock(libc: ctypes.CDLL) -> int:
    version: int = libc.syscall(_CREATE_RULESET, None, 0, _GET_VERSION)
    if version < 1:  # not built in, or disabled at boot
        return 0
    rights = max(count for since, count in _FILE_RIGHTS.items() if since <= version)
    attributes = struct.pack(
        "QQQ",
        (1 << rights) - 1,
        _TCP_RIGHTS if version >= _TCP_SINCE else 0,
        _SCOPES if version >= _SCOPES_SINCE else 0,
    )
    # Older kernels know only the first fields.
    size = 24 if version >= _SCOPES_SINCE else 16 if version >= _TCP_SINCE else 8
    ruleset = _checked(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    try:
        for folder in _code_folders():
            _allow_reading(libc, ruleset, folder)
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return version


def _code_folders() -> set[str]:
    """Return where Python finds modules not imported yet: PyAV imports some while it decodes.

    Without the project's folder, where `.env` may be, and its parents.
    """
    folders = {*sys.path, *_LIBRARIES, str(ROOT / "services")}
    return {name for name in folders if name and not ROOT.is_relative_to(Path(name).resolve())}


def _allow_reading(libc: ctypes.CDLL, ruleset: int, folder: str) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        opened = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            beneath = struct.pack("=Qi", _READ_FILE | _READ_DIR, opened)
            _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, beneath, 0))
        finally:
            os.close(opened)


# --- seccomp --------------------------------------------------------------------------------------


def _seccomp(libc: ctypes.CDLL) -> bool:
    machine = os.uname().machine
    if machine not in _MACHINES or sys.maxsize < 2**32:
        return False
    architecture, capset = _MACHINES[machine]
    # Header version 3, this process; no effective, permitted or inheritable capability.
    _checked(libc.syscall(capset, struct.pack("Ii", 0x20080522, 0), bytes(24)))
    column = list(_MACHINES).index(machine)
    program = b"".join(
        struct.pack("HBBI", *step) for step in _filter(architecture, column, os.getpid())
    )
    steps = ctypes.create_string_buffer(program, len(program))
    filter_program = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(steps))
    result: int = libc.prctl(_PR_SET_SECCOMP, 2, filter_program, 0, 0)
    return result == 0


_Step = tuple[int, int, int, int]
"""An instruction of the kernel's filter: code, jump if true, jump if false, operand."""


def _filter(architecture: int, column: int, pid: int) -> Sequence[_Step]:
    """Return the filter of system calls for one of `_MACHINES`."""
    refused = _REFUSE | errno.EPERM
    return [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, refused),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, refused),
        *_when(_numbers(_DENIED.values(), column), (_RETURN, 0, 0, refused)),
        # glibc falls back to `clone`, whose flags a filter can read.
        *_when([_CLONE3[column]], (_RETURN, 0, 0, _REFUSE | errno.ENOSYS)),
        *_when_argument([_CLONE[column]], _HAS, _CLONE_THREAD),
        *_when_argument([_PRLIMIT[column]], _EQUAL, 0),
        *_when_argument(_numbers(_OF_ITSELF.values(), column), _EQUAL, pid),
        *_when(
            [_FCNTL[column]],
            (_LOAD, 0, 0, _SECOND_ARGUMENT_AT),
            *_when(_SET_OWNER, (_RETURN, 0, 0, refused)),
            (_RETURN, 0, 0, _ALLOW),
        ),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _numbers(pairs: Iterable[tuple[int, int | None]], column: int) -> list[int]:
    return [number for pair in pairs if (number := pair[column]) is not None]


def _when(numbers: Iterable[int], *steps: _Step) -> Iterable[_Step]:
    """Yield the steps, which return, for each call with one of these numbers."""
    for number in numbers:
        yield (_EQUAL, 0, len(steps), number)
        yield from steps


def _when_argument(numbers: Iterable[int], test: int, operand: int) -> Iterable[_Step]:
    """Allow these calls if their first argument passes the test; otherwise refuse them."""
    return _when(
        numbers,
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (test, 0, 1, operand),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | errno.EPERM),
    )
