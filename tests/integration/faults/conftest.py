"""Broken disks, clocks and databases for the daemon under test."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import mmap
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from mta.testing.clients import message_ids
from mta.testing.postgresql import PostgreSql

SOURCE = Path(__file__).with_name("shim.c")


class Shim:
    """The page that shim.c reads. ``env`` preloads it into a daemon."""

    def __init__(self, library: Path, page: Path) -> None:
        page.write_bytes(bytes(32))
        with page.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 32)
        self.env = {"LD_PRELOAD": str(library), "MTA_FAULT_PAGE": str(page)}

    def _put(self, index: int, value: int) -> None:
        self._map[index * 8 : index * 8 + 8] = struct.pack("=q", value)

    def _get(self, index: int) -> int:
        return struct.unpack("=q", self._map[index * 8 : index * 8 + 8])[0]

    def shift_clock(self, seconds: float) -> None:
        self._put(0, int(seconds * 1e9))

    def fail_syncs(self, on: bool) -> None:
        self._put(1, int(on))

    @property
    def failed(self) -> int:
        return self._get(2)

    @property
    def first_failure(self) -> float:
        """Monotonic seconds; comparable with time.monotonic()."""
        return self._get(3) / 1e9


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("not installed: gcc")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@pytest.fixture
def shim(shim_library, tmp_path):
    return Shim(shim_library, tmp_path / "fault-page")


@pytest.fixture(scope="session")
def new_postgresql():
    """A function that makes an empty PostgreSQL database and returns its URL."""
    try:
        with PostgreSql() as make:
            yield make
    except ImportError as exc:
        pytest.skip(str(exc))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """The ``database`` key for a fresh installation, once for each backend."""
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("new_postgresql")()


@pytest.fixture
def mount(tmp_path):
    """``mount(*arguments)`` returns a new mount point; skips where this user may not mount. Unmounted at the end."""
    made: list[Path] = []

    def call(*arguments: str) -> Path:
        point = tmp_path / f"mount{len(made)}"
        point.mkdir()
        done = subprocess.run(["mount", *arguments, str(point)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")
        made.append(point)
        return point

    yield call
    for point in reversed(made):
        for _ in range(50):
            if subprocess.run(["umount", str(point)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)


@pytest.fixture
def audit():
    """``audit(server, ledger, *users)``: the mailboxes hold what was promised, once."""

    def call(server, ledger, *users: str, in_doubt: int = 0) -> None:
        found: list[str] = []
        for user in users:
            with server.imap(user, timeout=60) as box:
                found += message_ids(box).values()
        faults = ledger.audit(found, in_doubt=in_doubt)
        assert not faults, f"{len(faults)} faults of {len(ledger.sent)} messages: {faults[:10]}"

    return call


@pytest.fixture
def fill():
    """``fill(folder, leave)``: take all free space but ``leave`` octets; returns the file to unlink."""
    made: list[Path] = []

    def call(folder: Path, leave: int) -> Path:
        file = folder / "ballast"
        made.append(file)
        with file.open("wb", buffering=0) as out, contextlib.suppress(OSError):
            while (free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - leave) > 0:
                out.write(bytes(min(65536, max(1, free))))
        return file

    yield call
    for file in made:
        file.unlink(missing_ok=True)
