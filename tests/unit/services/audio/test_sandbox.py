"""What the sandbox asks a fake kernel for. tests/security tests it with the real one."""

import ctypes
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.audio import sandbox
from services.audio.sandbox import Sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")

PID = 4_711
REFUSED = "EPERM"


class Kernel:
    """Replaces the C library, and restricts nothing."""

    def __init__(self, landlock: int, *, refuses: int | None = None) -> None:
        self.landlock = landlock
        self.refuses = refuses
        self.attributes = b""
        self.rules: list[bytes] = []
        self.called: list[int] = []

    def prctl(self, what: int, *_: Any) -> int:
        self.called.append(what)
        return 0

    def syscall(self, number: int, *arguments: Any) -> int:
        self.called.append(number)
        if number == self.refuses:
            ctypes.set_errno(errno.E2BIG)
            return -1
        if number == sandbox._CREATE_RULESET:
            if arguments[0] is None:
                return self.landlock
            self.attributes = arguments[0][: arguments[1].value]
            return os.open(os.devnull, os.O_RDONLY)
        if number == sandbox._ADD_RULE:
            self.rules.append(arguments[2])
        return 0


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count only one thread: pytest may have more."""
    monkeypatch.setattr(Path, "iterdir", lambda path: iter([path]))


def enter(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: kernel)
    return sandbox.enter()


@pytest.mark.parametrize(
    ("version", "rights"),
    [
        (1, (2**13 - 1,)),
        (2, (2**14 - 1,)),
        (3, (2**15 - 1,)),
        (4, (2**15 - 1, 3)),
        (5, (2**16 - 1, 3)),
        (6, (2**16 - 1, 3, 3)),
        (9, (2**16 - 1, 3, 3)),
    ],
)
def test_each_version_of_landlock_gets_the_rights_that_it_supports(
    version: int, rights: tuple[int, ...], one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(version)
    assert enter(kernel, monkeypatch).landlock == version
    assert struct.unpack(f"{len(rights)}Q", kernel.attributes) == rights
    assert kernel.called[0] == sandbox._PR_SET_NO_NEW_PRIVS
    assert sandbox._RESTRICT_SELF in kernel.called
    # Nothing but reading files and listing folders is allowed, in at least Python's own.
    assert len(kernel.rules) >= 2
    assert {struct.unpack("=Qi", rule)[0] for rule in kernel.rules} == {0b1100}


@pytest.mark.parametrize("call", [sandbox._ADD_RULE, sandbox._RESTRICT_SELF])
def test_a_kernel_that_refuses_is_an_error(
    call: int, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="too long"):
        enter(Kernel(7, refuses=call), monkeypatch)


def test_a_second_thread_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "iterdir", lambda path: iter([path, path]))
    with pytest.raises(RuntimeError, match="before any thread"):
        sandbox.enter()


def test_other_systems_have_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sandbox.enter() == Sandbox(0, seccomp=False)


@pytest.mark.parametrize(
    ("machine", "landlock", "expected"),
    [("x86_64", -1, Sandbox(0, seccomp=True)), ("riscv64", 7, Sandbox(7, seccomp=False))],
)
def test_parts_that_the_system_lacks_are_left_out(
    machine: str,
    landlock: int,
    expected: Sandbox,
    one_thread: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    kernel = Kernel(landlock)
    assert enter(kernel, monkeypatch) == expected
    assert bool(kernel.rules) is (landlock > 0)


def test_the_projects_folder_is_not_among_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", str(sandbox.ROOT), str(sandbox.ROOT.parent), "/opt/x"])
    assert sandbox._code_folders() == {
        "/opt/x",
        str(sandbox.ROOT / "services"),
        *sandbox._LIBRARIES,
    }


# --- the filter, as the kernel runs it -----------------------------------------------------------

AUDIT = {machine: number for machine, (number, _) in sandbox._MACHINES.items()}


def verdict(
    machine: str, number: int, argument: int = 0, second: int = 0, *, audit: int | None = None
) -> str:
    """Return what a machine's filter does with a call."""
    steps = sandbox._filter(AUDIT[machine], list(AUDIT).index(machine), PID)
    architecture = AUDIT[machine] if audit is None else audit
    loaded = {0: number, 4: architecture, 16: argument, 24: second}
    names = {
        sandbox._ALLOW: "allowed",
        sandbox._REFUSE | errno.EPERM: REFUSED,
        sandbox._REFUSE | errno.ENOSYS: "ENOSYS",
    }
    return names[run(list(steps), loaded)]


def run(steps: Sequence[tuple[int, int, int, int]], loaded: dict[int, int]) -> int:
    tests = {0x15: int.__eq__, 0x35: int.__ge__, 0x45: int.__and__}
    at = value = 0
    while True:
        code, if_true, if_false, operand = steps[at]
        at += 1
        if code == 0x06:
            return operand
        if code == 0x20:
            value = loaded[operand]
        else:
            at += if_true if tests[code](value, operand) else if_false


@pytest.mark.parametrize("machine", AUDIT)
def test_the_filter_refuses_only_the_listed_calls(machine: str) -> None:
    column = list(AUDIT).index(machine)
    refused = set(sandbox._numbers(sandbox._DENIED.values(), column))
    of_itself = set(sandbox._numbers(sandbox._OF_ITSELF.values(), column))
    special = {n[column] for n in (sandbox._CLONE, sandbox._CLONE3, sandbox._PRLIMIT)}
    assert not refused & (of_itself | special)
    for number in range(500):
        if number in refused:
            assert verdict(machine, number) == REFUSED
        elif number not in of_itself | special:
            assert verdict(machine, number) == "allowed"
    for number in of_itself:
        assert verdict(machine, number, PID) == "allowed"
        assert verdict(machine, number, PID + 1) == REFUSED


@pytest.mark.parametrize("machine", AUDIT)
def test_the_filter_allows_new_threads_and_no_processes(machine: str) -> None:
    column = list(AUDIT).index(machine)
    assert verdict(machine, sandbox._CLONE3[column]) == "ENOSYS"
    assert verdict(machine, sandbox._CLONE[column], 0x3D0F00) == "allowed"
    assert verdict(machine, sandbox._CLONE[column], 17) == REFUSED
    assert verdict(machine, sandbox._PRLIMIT[column], 0) == "allowed"
    assert verdict(machine, sandbox._PRLIMIT[column], 1) == REFUSED


@pytest.mark.parametrize("machine", AUDIT)
def test_the_filter_lets_no_file_signal_another_process(machine: str) -> None:
    fcntl_number = sandbox._FCNTL[list(AUDIT).index(machine)]
    for command in (fcntl.F_SETOWN, 15):  # F_SETOWN_EX
        assert verdict(machine, fcntl_number, 3, command) == REFUSED
    for command in (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_SETFL, fcntl.F_DUPFD_CLOEXEC):
        assert verdict(machine, fcntl_number, 3, command) == "allowed"


def test_the_filter_allows_one_set_of_numbers_only() -> None:
    assert verdict("x86_64", 0) == "allowed"
    assert verdict("x86_64", 0, audit=0x40000003) == REFUSED  # that of 32 bits
    assert verdict("x86_64", 0x40000000) == REFUSED  # x32
