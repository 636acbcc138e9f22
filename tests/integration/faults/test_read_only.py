"""The file system turns read-only under the server (what ext4 does after an error): 451, IMAP goes on reading."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import os
import signal
import smtplib
import subprocess
from pathlib import Path

import pytest

from mta.testing.clients import Ledger, Load, compose, message_ids
from mta.testing.processes import group_members
from mta.testing.server import MailServer, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


@contextlib.contextmanager
def suspended(server):
    """No process of the server runs meanwhile, and none waits for the disk."""
    os.killpg(server.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all(state(pid) == "T" for pid in group_members(server.pid)), 5, "every thread stopped")
        yield
    finally:
        os.killpg(server.pid, signal.SIGCONT)


def state(pid):
    """ "T" when every thread of the process is stopped."""
    states = {stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")}
    return "T" if states <= {"T"} else "".join(sorted(states))


@pytest.mark.peer("mkfs.ext4")
def test_read_only(mount, tmp_path, audit):
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(96 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    disk = mount("-o", "loop,errors=remount-ro", str(image))
    device = next(line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == str(disk))
    trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
    if not trigger.exists():
        pytest.skip("this kernel cannot be asked for a file system error")
    ledger = Ledger()
    config = {"data_dir": str(disk / "data"), "storage": {"reserve": 0}}
    with MailServer(config) as server:
        with Load(server.smtp, [ALICE, BOB], ledger=ledger) as load:
            load.wait_acknowledged(30)
            box = server.imap(ALICE)
            # ext4 answers 0 to an fdatasync that runs while the error strikes, though its journal is gone; stopped workers have
            # none under way, and what they write afterwards is refused.
            with suspended(server):
                trigger.write_text("test")
            load.wait_refused(5)
            load.stop()
        assert {code for code, _ in ledger.refused.values()} <= {451}
        with pytest.raises((smtplib.SMTPException, OSError)), server.smtp() as client:
            client.sendmail("x@client.test", [ALICE], compose("<ro@client.test>", ALICE))
        there = set(message_ids(box).values())
        assert box.fetch("1", "(BODY.PEEK[])")[0] == "OK"
        assert box.append("INBOX", None, None, compose("<ro2@client.test>", ALICE))[0] == "NO"
        box.shutdown()
        with server.imap(ALICE) as again:  # and new sessions too
            assert set(message_ids(again).values()) == there
        server.kill()
        wait_until(lambda: subprocess.run(["umount", disk], check=False, capture_output=True).returncode == 0, 5, "unmounted", 0.1)
        subprocess.run(["e2fsck", "-fy", image], check=False, capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, disk], check=True)
        server.start()
        audit(server, ledger, ALICE, BOB, in_doubt=3)
        server.stop()
