"""What /proc tells about a process: children, processor time, memory, connections. Linux only."""
# SPDX-License-Identifier: Apache-2.0

import os
from pathlib import Path

_ESTABLISHED = "01"


def children(pid: int) -> list[int]:
    """Return the process ids of the direct children, oldest first; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return sorted(int(word) for word in text.split() if not _is_zombie(int(word)))


def group_members(group: int) -> list[int]:
    """Return the processes of a process group that still run; zombies, which init may reap late, do not count: those without another
    thread, for whose end the files and sockets of a process stay open."""
    out = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == group and (fields[0] not in "ZX" or int(fields[17]) > 1):
                out.append(int(name))
    return out


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def processor_seconds(pid: int) -> float:
    """Return user plus system time of all threads of the process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Return the resident memory in octets."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def established(pid: int, port: int) -> int:
    """Return how many established TCP connections at the local ``port`` the process holds."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _ESTABLISHED:
            inodes.add(f"socket:[{fields[9]}]")
    held = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            held += os.readlink(f"/proc/{pid}/fd/{name}") in inodes
        except FileNotFoundError:
            continue
    return held
