"""QuotaExceed, Login and Logout: told durably, from every door, once for each."""

import imaplib
import poplib
import smtplib

from mta.testing.server import HOST, MailServer, wait_until

HOOK = """
from mta_hooks import hookimpl

@hookimpl
def mailbox_event(event, ctx):
    if event.event in ("QuotaExceed", "Login", "Logout"):
        ctx.log.info("heard", what=event.event, user=event.user, **{k: v for k, v in event.details.items() if k != "session"})
"""
ALICE, BOB = "alice@example.test", "bob@example.test"


def heard(server):
    """Each line's words in order of the alphabet, without those that say who logged."""
    lines = [line.split(" heard ")[1].split() for line in server.log.splitlines() if " heard " in line]
    return [" ".join(sorted(word for word in line if not word.startswith(("worker=", "plugin=")))) for line in lines]


def test_each_door_tells(tmp_path):
    hooks = tmp_path / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "listener.py").write_text(HOOK)
    (hooks / "listener.py").chmod(0o644)
    with MailServer({"hooks_dir": str(hooks), "workers": 1}) as server:
        server.cli("user", "quota", BOB, "1")
        with imaplib.IMAP4(HOST, server.ports["imap"]) as client:
            client.login(BOB, "correct-horse")
            assert client.append("INBOX", None, None, b"Subject: x\r\n\r\nbody")[0] == "NO"
        client = poplib.POP3(HOST, server.ports["pop3"])
        client.user(ALICE)
        client.pass_("correct-horse")
        client.quit()
        with smtplib.SMTP(HOST, server.ports["submission"]) as client:
            client.login(ALICE, "correct-horse")
        with smtplib.SMTP(HOST, server.ports["smtp"]) as client:
            refused = client.sendmail("x@elsewhere.test", [ALICE, BOB], "Subject: x\n\nbody")
            assert refused == {}
        wait_until(lambda: len(heard(server)) >= 8, 20, "events")
        said = heard(server)
    text = "\n".join(said)
    for protocol, user in (("imap", BOB), ("pop3", ALICE), ("submission", ALICE)):
        for event in ("Login", "Logout"):
            assert f"client=127.0.0.1 protocol={protocol} user={user} what={event}" in text, text
    assert f"command=APPEND user={BOB} what=QuotaExceed" in text, text
    assert said.count(f"user={BOB} what=QuotaExceed") == 1, text
