"""For the whole suite: ``@pytest.mark.peer("swaks", …)`` skips, with the reason, where such a program cannot run; what measures
time or strains the machine is marked ``alone``, and `make test` runs it after the rest, one at a time."""
# SPDX-License-Identifier: Apache-2.0

import os
import shutil

import pytest

os.environ["PATH"] = (
    f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/local/sbin{os.pathsep}/usr/sbin{os.pathsep}/sbin"  # Debian keeps daemons there
)

NEED_ROOT = frozenset({"postfix", "exim4"})
ALONE = (
    "tests/e2e/test_idle.py",
    "tests/e2e/test_sendmail.py",
    "tests/integration/faults/",
    "tests/integration/outbound/test_kill.py",
    "tests/integration/smtp/test_attacks.py",
    "tests/integration/storage/test_faults.py",
    "tests/integration/storage/test_speed.py",
    "tests/plugins/host/test_deadlines.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(ALONE):
            item.add_marker("alone")
        for mark in item.iter_markers("peer"):
            missing = [name for name in mark.args if shutil.which(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))
            elif os.geteuid() != 0 and not NEED_ROOT.isdisjoint(mark.args):
                item.add_marker(pytest.mark.skip(reason=f"{', '.join(mark.args)}: starts only as root"))
