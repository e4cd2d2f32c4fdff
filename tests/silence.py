"""Commands that must not touch the network, and are killed by the kernel if any of their code tries, native or not."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from histoproto.privacy import SWITCHES

# What a machine calls the system call `socket`, and its own architecture, in a filter (linux/audit.h).
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_FAMILIES = (2, 16)  # AF_INET, and AF_NETLINK, which name resolution begins with
# There is no AF_INET6 here (EAFNOSUPPORT): a library that only asks whether there is, as urllib3 does on import,
# goes on without, and one that wants the network tries AF_INET next.
_ABSENT = 10
_KILL, _ALLOW, _REFUSE = 0x80000000, 0x7FFF0000, 0x00050000 | 97
# Variables by which libraries notice that they are being tested, and behave.
_GIVEAWAYS = {"CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_RUNNING_UNIT_TESTS"}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _forbid() -> None:
    """From now on a socket of the internet ends this process and its children by SIGSYS (seccomp, no rights needed)."""
    architecture, socket = _MACHINES[platform.machine()]
    load, jump, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    families = len(_FAMILIES)
    code = [
        (load, 0, 0, 4),
        (jump, 0, families + 4, architecture),
        (load, 0, 0, 0),
        (jump, 0, families + 2, socket),
        (load, 0, 0, 16),
        *((jump, families - index + 1, 0, family) for index, family in enumerate(_FAMILIES)),
        (jump, 2, 0, _ABSENT),
        (give, 0, 0, _ALLOW),
        (give, 0, 0, _KILL),
        (give, 0, 0, _REFUSE),
    ]
    raw = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = _Program(len(code), ctypes.cast(raw, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program)):  # NO_NEW_PRIVS, SET_SECCOMP
        raise OSError(ctypes.get_errno(), "seccomp")


def needs_seccomp() -> None:
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        pytest.skip("sockets are only watched on Linux")
    done = subprocess.run([sys.executable, "-c", "pass"], preexec_fn=_forbid, check=False)
    if done.returncode:
        pytest.skip("seccomp is not allowed here")


def run_silently(arguments: Sequence[object], home: Path, forbid: bool = True) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments and a home folder of its own; SIGSYS is its end if it wants the network."""
    left_out = _GIVEAWAYS | SWITCHES.keys()  # those that were switched when these tests imported the package
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME"):
        environment.pop(name, None)
    environment |= {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_forbid if forbid else None,
    )


def assert_silent(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode != -signal.SIGSYS, f"{done.args[1:]} wanted the network: {done.stderr[-2000:]}"
    assert done.returncode == 0, f"{done.args[1:]}: {done.stderr}"
