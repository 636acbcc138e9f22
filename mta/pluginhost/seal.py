"""Runs a program without a network: ``python -I -S seal.py SCRIPT ARG…`` starts the Python script in a process that, like all its
descendants, gets "Network is unreachable" for every socket of the Internet kinds. Unix sockets and everything else stay.

A seccomp filter (Linux, no privileges needed) that outlives exec; nothing of mta is imported. Exits with 71 when the kernel has none.
"""
# SPDX-License-Identifier: Apache-2.0

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
EX_OSERR = 71
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NR, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Machine -> AUDIT_ARCH_…, number of socket(2)."""
_IO_URING_SETUP = 425  # its own way to make sockets; the same number on both
_X32 = 0x40000000
_FAMILIES = (2, 10, 16, 17)  # AF_INET, AF_INET6, AF_NETLINK, AF_PACKET


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def program(machine: str) -> bytes:
    """The filter. Raises KeyError for a machine whose numbers are not known."""
    arch, socket_number = _MACHINES[machine]
    unreachable, nothing = _ERRNO | errno.ENETUNREACH, _ERRNO | errno.ENOSYS
    lines = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, nothing),
        (_LOAD, 0, 0, _NR),
        (_AT_LEAST, 0, 0, _X32),
        (_EQUAL, 0, 0, _IO_URING_SETUP),
        (_EQUAL, 1, 0, socket_number),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *((_EQUAL, 0, 0, family) for family in _FAMILIES),
        (_RETURN, 0, 0, _ALLOW),
    ]
    none, away = len(lines), len(lines) + 1  # the two lines to which the others jump
    lines += [(_RETURN, 0, 0, nothing), (_RETURN, 0, 0, unreachable)]
    out = []
    for place, (code, yes, no, value) in enumerate(lines):
        if code == _AT_LEAST or value == _IO_URING_SETUP:
            yes = none - place - 1
        elif code == _EQUAL and value in _FAMILIES:
            yes = away - place - 1
        out.append(struct.pack("=HBBI", code, yes, no, value))
    return b"".join(out)


def seal() -> None:
    """For this process and all that it starts. Raises OSError."""
    try:
        octets = program(os.uname().machine)
    except KeyError as exc:
        raise OSError(errno.ENOSYS, f"no filter for {exc}") from None
    libc = ctypes.CDLL(None, use_errno=True)
    made = _Program(len(octets) // 8, octets)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(made), 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


if __name__ == "__main__":
    try:
        seal()
    except OSError as failure:
        sys.stderr.write(f"mta: hooks cannot be kept from the network here: {failure.strerror}\n")
        sys.exit(EX_OSERR)
    os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv[1:]])  # noqa: S606  # our own program
