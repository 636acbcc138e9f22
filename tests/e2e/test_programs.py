"""The real daemon with hooks that run outside of it: a script for each delivery, a program that stays, a plugin in its own process."""
# SPDX-License-Identifier: Apache-2.0

import os
import shutil
import smtplib
import tempfile
from pathlib import Path

import pytest

from mta.testing.clients import compose
from mta.testing.server import MailServer, wait_until

ALICE = "alice@example.test"
HOOKS = {
    "deliver.d/50-script": '#!/bin/sh\n[ "$EXTENSION" = script ] || { echo \'{"action": "failed", "text": "only +script"}\'; exit; }\n'
    'cat > "FILES/$MTA_ID"\n',
    "deliver.d/50-script.yaml": 'when: {recipient: ["*+script@*", "*+other@*"]}\n',
    "pipe.d/ticket": '#!/bin/sh\necho "$RECIPIENT" > "FILES/ticket"\n',
    "message_check.d/10-stays": "#!/usr/bin/env -S python3 -IS\n# mta: persistent\nimport json, os, sys\n"
    "for line in sys.stdin:\n    asked = json.loads(line)\n"
    "    spam = any(v == 'spam' for k, v in asked['args']['message']['headers'] if k == 'Subject')\n"
    "    verdict = {'action': 'reject', 'text': f'spam, says {os.getpid()}'} if spam else None\n"
    "    print(json.dumps({'id': asked['id'], 'verdict': verdict}), flush=True)\n",
    "alone.py": "import os\nfrom mta_hooks import hookimpl, reject\n@hookimpl\ndef smtp_rcpt(recipient, session):\n"
    "    if recipient.local == 'crash':\n        os._exit(1)\n"
    "    return reject(f'alone {os.getuid()} {os.getpid()}') if recipient.local == 'who' else None\n",
    "alone.yaml": "isolate: process\n",
}


@pytest.fixture
def folder():
    """Every account can pass through it, and write into ``files``."""
    path = Path(tempfile.mkdtemp(prefix="mta-programs-", dir="/tmp"))
    path.chmod(0o755)
    (path / "files").mkdir()
    (path / "files").chmod(0o777)
    for name, text in HOOKS.items():
        file = path / "hooks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("FILES", str(path / "files")))
        file.chmod(0o755 if "/" in name and not name.endswith(".yaml") else 0o644)
    yield path
    shutil.rmtree(path)


def refusal(client, recipient):
    client.mail("x@client.test")
    code, text = client.rcpt(recipient)
    client.rset()
    return code, text.decode()


def test_programs_and_isolated_plugins_in_the_daemon(folder) -> None:
    with MailServer({"hooks_dir": str(folder / "hooks"), "workers": 1}) as server:
        server.cli("alias", "add", "support@example.test", "|ticket")
        assert server.cli("alias", "add", "evil@example.test", "|sh -c x", check=False).returncode != 0
        with server.smtp() as client:
            client.sendmail("x@client.test", ["support@example.test"], compose("<s@client.test>", "support@example.test"))
            assert client.mail("x@client.test")[0] == 250
            assert client.rcpt("|ticket@example.test")[0] == 550
            client.rset()
            client.sendmail("x@client.test", ["alice+script@example.test"], compose("<m@client.test>", ALICE))
            with pytest.raises(smtplib.SMTPDataError, match="spam, says"):
                client.sendmail("x@client.test", [ALICE], "Subject: spam\r\n\r\nx\r\n")
            code, text = refusal(client, "who@example.test")
            assert (code, text.split()[1]) == (550, "alone")
            uid, first = map(int, text.split()[2:])
            assert uid != 0 or os.geteuid() != 0
            assert refusal(client, "crash@example.test")[0] == 451
            _, text = refusal(client, "who@example.test")
            second = int(text.split()[3])
            assert second != first
        wait_until(
            lambda: [f for f in (folder / "files").iterdir() if b"<m@client.test>" in f.read_bytes()], 10, "the script's file"
        )
        ticket = folder / "files" / "ticket"
        wait_until(lambda: ticket.exists() and ticket.read_text() == "support@example.test\n", 10, "the alias's program ran")
        listed = server.cli("plugins", "list").stdout.decode()
        assert "deliver.d/50-script" in listed
        assert "executable" in listed
        server.kill()  # -9: what the server had started goes with it
        wait_until(lambda: not os.path.exists(f"/proc/{second}"), 10, "the isolated process gone")
        server.start()
        with server.smtp() as client:
            third = int(refusal(client, "who@example.test")[1].split()[3])
        assert server.stop() == 0
        assert not os.path.exists(f"/proc/{third}")
