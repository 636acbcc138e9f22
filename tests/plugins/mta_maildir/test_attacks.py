"""Local delivery: links that somebody put into a Maildir lead nowhere (Postfix CVE-2008-2936, OpenSMTPD 2015)."""
# SPDX-License-Identifier: Apache-2.0

import os
from pathlib import Path

import pytest

from mta.testing.conformance import Backend, arrive, deliver, intake
from mta_hooks.backends import Database
from mta_maildir import disk, uidlist


def test_local_delivery(backend: Backend, mail: Path, tmp_path: Path) -> None:
    """Nothing is written through a link in the place of a file of ours; a file of another name is not ours to write into."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    alice = mail / "example.test" / "alice"

    async def scenario(db: Database) -> None:
        user, _ = await arrive(db)
        await deliver(db, intake(user))
        assert len(list((alice / "new").iterdir())) == 1
        os.symlink(secret, alice / f"{uidlist.NAME}.mta-lock")
        (alice / uidlist.NAME).unlink()
        os.symlink(secret, alice / uidlist.NAME)
        await deliver(db, intake(user))
        assert len(list((alice / "new").iterdir())) == 2

    backend.run(scenario)
    (alice / uidlist.NAME).unlink()
    os.symlink(secret, alice / uidlist.NAME)
    for flags in (0, os.O_EXCL, os.O_TRUNC, os.O_APPEND):
        with pytest.raises(OSError, match=r"symbolic links|File exists"):
            disk.create(str(alice / uidlist.NAME), flags, 0o600)
    assert secret.read_bytes() == b"secret"
