"""Started as root, served as somebody else: programs of hooks run as the accounts for hooks, as those named, and as the recipient; never as root."""
# SPDX-License-Identifier: Apache-2.0

import os
import pwd
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

import mta
from mta.pluginhost.confine import FIRST_UID, LAST_UID
from mta.testing.clients import compose
from mta.testing.server import MailServer, wait_until

SERVER, NAMED = "daemon", "games"
PERSON = next(
    (entry.pw_name for entry in pwd.getpwall() if FIRST_UID <= entry.pw_uid <= LAST_UID and entry.pw_name.isalnum()), None
)
SCRIPT = "#!/bin/sh\n{{ id -u; id -G; grep CapEff /proc/self/status; ulimit -v; }} > FILES/{name}.$LOCAL\n"
HOOKS = {
    "deliver.d/50-plain": SCRIPT.format(name="plain") + 'echo \'{"action": "delivered"}\'\n',
    "deliver.d/40-named": SCRIPT.format(name="named") + 'echo \'{"action": "delivered"}\'\n',
    "deliver.d/40-named.yaml": f'when: {{recipient: "*+named@*"}}\nprocess: {{user: {NAMED}, memory: 300 MiB}}\n',
    "rooted.py": "from mta_hooks import hookimpl\n@hookimpl\ndef smtp_ehlo(name): ...\n",
    "rooted.yaml": "isolate: {user: root}\n",
}
ALONE = {
    "alone.py": "import os, resource\nfrom mta_hooks import hookimpl, reject\n@hookimpl\ndef smtp_rcpt(recipient):\n"
    "    if recipient.local == 'who':\n"
    "        return reject(f'alone {os.getuid()} {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}')\n",
    "alone.yaml": f"isolate: {{user: {NAMED}, files: 99}}\n",
}


def exist(*names):
    try:
        return all(pwd.getpwnam(name).pw_uid for name in names)
    except KeyError:
        return False


def readable(*places):
    """By everybody."""
    paths = [path for place in places for path in (Path(place).resolve(), *Path(place).resolve().parents)]
    return all(path.stat().st_mode & (wanted := 0o005 if path.is_dir() else 0o004) == wanted for path in paths)


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up"),
    pytest.mark.skipif(not exist(SERVER, NAMED, "nobody"), reason=f"needs the accounts {SERVER}, {NAMED} and nobody"),
]


@pytest.fixture
def folder():
    path = Path(tempfile.mkdtemp(prefix="mta-accounts-", dir="/tmp"))
    path.chmod(0o755)
    (path / "files").mkdir()
    (path / "files").chmod(0o1777)
    for name, text in {**HOOKS, **ALONE}.items():
        file = path / "hooks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("FILES", str(path / "files")))
        file.chmod(0o755 if "/" in name and not name.endswith(".yaml") else 0o644)
    yield path
    shutil.rmtree(path)


def test_programs_run_under_their_own_accounts(folder):
    local = f"{PERSON or 'nobody'}@mx.example.test"
    users = ("alice@example.test", "alice+named@example.test", local)
    server = MailServer(
        {"user": SERVER, "hooks_dir": str(folder / "hooks"), "workers": 1}, users=(users[0], local), protocols=("smtp",)
    )
    server.directory.chmod(0o755)
    files = folder / "files"
    with server:
        with server.smtp() as client:
            for number, recipient in enumerate(users):
                client.sendmail("x@client.test", [recipient], compose(f"<{number}@client.test>", recipient))
        names = ["plain.alice", "named.alice+named", f"plain.{local.partition('@')[0]}"]
        wait_until(lambda: all((files / name).exists() and "CapEff" in (files / name).read_text() for name in names), 20, "all ran")
        said = {name: (files / name).read_text().split("\n") for name in names}
        uids = {name: int(lines[0]) for name, lines in said.items()}
        nobody, person = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam(local.partition("@")[0]).pw_uid
        assert uids == {names[0]: nobody, names[1]: pwd.getpwnam(NAMED).pw_uid, names[2]: person}
        for lines in said.values():
            assert "0" not in lines[1].split()
            assert int(lines[2].split()[1], 16) == 0
        assert said[names[1]][3] == str(300 * 1024)
        assert "never run as root" in server.log_now
        [worker] = server.workers
        assert f"\nUid:\t{pwd.getpwnam(SERVER).pw_uid}\t" in Path(f"/proc/{worker}/status").read_text()


@pytest.mark.skipif(
    not readable(sys.executable, mta.__file__), reason="Python or the server lies where other accounts cannot read it"
)
def test_a_plugin_in_a_process_of_its_own_has_its_own_account(folder):
    server = MailServer({"user": SERVER, "hooks_dir": str(folder / "hooks"), "workers": 1}, protocols=("smtp",))
    server.directory.chmod(0o755)
    with server, server.smtp() as client:
        client.mail("x@client.test")
        assert f"alone {pwd.getpwnam(NAMED).pw_uid} 99" in client.rcpt("who@example.test")[1].decode()
