"""The real daemon with the plugin: who logs in, and helpers that end with their worker."""
# SPDX-License-Identifier: Apache-2.0

import base64
import ctypes.util
from pathlib import Path

import pytest

from mta.testing.processes import children
from mta.testing.server import PASSWORD, MailServer, wait_until

pytestmark = pytest.mark.skipif(ctypes.util.find_library("pam") is None, reason="not installed: libpam0g")


def test_submission_takes_passwords_that_pam_knows(tmp_path: Path) -> None:
    script = tmp_path / "judge"
    script.write_text('#!/bin/sh\nread -r password\n[ "$password" = "secret of $PAM_USER" ]\n')
    script.chmod(0o755)
    (tmp_path / "mta").write_text(
        f"auth [success=1 default=ignore] pam_exec.so expose_authtok quiet {script}\nauth requisite pam_deny.so\n"
        "auth required pam_permit.so\naccount required pam_permit.so\n"
    )
    plugin = {"domains": ["example.test"], "folder": str(tmp_path)}
    config = {"plugins": {"sql": {}, "pam": plugin}, "workers": 1}
    with MailServer(config, protocols=("submission",)) as server:

        def login(name: str, password: str) -> int:
            with server.smtp(protocol="submission") as client:
                words = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
                code: int = client.docmd("AUTH", f"PLAIN {words}")[0]
                return code

        assert login("carol", "secret of carol") == 235
        assert login("carol@example.test", "secret of carol") == 235
        assert login("carol@example.test", "secret of dave") == 535
        assert login("dave@example.test", "secret of dave") == 235
        assert login("alice@example.test", PASSWORD) == 535  # PAM knows every name here
        helpers = [pid for worker in server.workers for pid in children(worker)]
        assert len(helpers) == 1
        server.reload()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in helpers), 20, "helpers of the old worker end")
        assert login("carol", "secret of carol") == 235
        assert "secret of" not in server.log
