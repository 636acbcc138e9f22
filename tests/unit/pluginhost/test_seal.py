"""A sealed process, and what it starts, makes no sockets of the Internet kinds; everything else works."""
# SPDX-License-Identifier: Apache-2.0

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from mta.pluginhost import seal
from mta.pluginhost.seal import program

SCRIPT = """
import socket, subprocess, sys
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_UNIX):
    try:
        socket.socket(family, socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_STREAM).close()
        print(family.name, "made")
    except OSError as exc:
        print(family.name, exc.strerror)
if len(sys.argv) < 2:
    sys.stdout.flush()
    subprocess.run([sys.executable, sys.argv[0], "child"], check=True)
"""


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="the filter knows x86_64 and aarch64")
def test_no_network_for_a_process_and_its_children(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(seal.__file__), str(script)], capture_output=True, text=True, check=True, timeout=30
    )
    away = "Network is unreachable"
    assert done.stdout.splitlines() == [f"AF_INET {away}", f"AF_INET6 {away}", f"AF_NETLINK {away}", "AF_UNIX made"] * 2


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_stays_within_the_filter(machine: str) -> None:
    octets = program(machine)
    lines = [struct.unpack("=HBBI", octets[at : at + 8]) for at in range(0, len(octets), 8)]
    for place, (code, yes, no, _) in enumerate(lines):
        if code & 7 == 5:  # a jump
            assert place + 1 + max(yes, no) < len(lines)
    assert lines[-1][0] == lines[-2][0] == 0x06
