"""The examples of hooks/examples that are programs or touch the disk, loaded as an administrator would: copied into the folder."""

import json
import shutil
from email.message import EmailMessage
from pathlib import Path

import pytest

from mta.model.address import Address
from mta.model.delivery import Deferred, Delivered, Failed
from mta.model.verdict import Action
from mta.testing.plugins import FakeMessage, FakeSession

EXAMPLES = Path(__file__).resolve().parents[3] / "hooks/examples"
PROGRAMS = [p.relative_to(EXAMPLES).as_posix() for p in sorted(EXAMPLES.glob("*.d/*")) if p.suffix != ".yaml"]
OFFICE, ARCHIVE = Address("office", "example.org"), Address("archive", "example.org")


def copy(hooks, name, settings=None, **replaced):
    text = (EXAMPLES / name).read_text("utf-8")
    for old, new in replaced.items():
        assert f"\n{old}=" in text
        text = "\n".join(f"{old}={new}" if line.startswith(f"{old}=") else line for line in text.split("\n"))
    beside = f"{name.removesuffix('.py') if '/' not in name else name}.yaml"
    if settings is not None:
        hooks.save(beside, json.dumps(settings))
    elif (EXAMPLES / beside).exists():
        hooks.save(beside, (EXAMPLES / beside).read_text("utf-8"))
    hooks.save(name, text)
    assert hooks.host.failed == {}


def deliver(hooks, message, recipient=OFFICE, sender=None):
    return hooks.run(lambda: hooks.host.deliver.first(recipient=recipient, sender=sender, message=message))


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_documented_executable_and_loads(hooks, name) -> None:
    text = (EXAMPLES / name).read_text("utf-8")
    assert text.startswith("#!")
    assert (EXAMPLES / name).stat().st_mode & 0o111
    assert len(text.splitlines()) < 60
    assert sum(len(line) for line in text.splitlines()[:12]) > 300
    copy(hooks, name)
    assert list(hooks.host.plugins) == [name]


def test_there_are_at_least_eight_examples() -> None:
    assert len(PROGRAMS) + len(list(EXAMPLES.glob("*.py"))) >= 8


@pytest.fixture
def writable(hooks):
    folder = hooks.path / ".files"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


# ---- attachments


def mail(*attachments):
    message = EmailMessage()
    message["Subject"] = "scans"
    message.set_content("see attachments")
    for name, kind, octets in attachments:
        message.add_attachment(octets, *kind.split("/"), filename=name)
    return FakeMessage(message.as_bytes())


def test_attachments_become_files(hooks, writable) -> None:
    copy(hooks, "save_attachments.py", {"config": {"folder": str(writable), "types": ["application/pdf", "image/*"]}})
    given = (
        ("../../etc/a b.pdf", "application/pdf", b"%PDF\x00\xff"),
        ("x.exe", "application/octet-stream", b"MZ"),
        ("ü.png", "image/png", b"png"),
    )
    for _ in range(2):  # a delivery may be made twice
        assert deliver(hooks, mail(*given)) == Delivered("2 files saved")
    files = {f.name: f.read_bytes() for f in writable.iterdir()}
    assert files == {"q1-1-_.._etc_a_b.pdf": b"%PDF\x00\xff", "q1-2-ü.png": b"png"}
    assert deliver(hooks, mail(given[1])) == Failed("no attachment of a kind that is taken here", "5.6.1")
    assert deliver(hooks, FakeMessage(b"not a MIME message at all")).enhanced == "5.6.1"


# ---- forwarding

RULES = {
    "config": {
        "rules": [
            {"recipient": "office@*", "subject": "*invoice*", "to": ["books@example.net"]},
            {"sender": "*@partner.example", "to": ["eve@example.net", "f@example.net"], "keep": True},
        ]
    }
}
PARTNER = Address("Anna", "partner.example")


def test_forwarded_once_and_marked(hooks) -> None:
    copy(hooks, "forward_by_rule.py", RULES)
    sent = hooks.host.services.send.messages
    message = FakeMessage(b"Subject: your INVOICE 7\r\n\r\npay\r\n")
    for _ in range(2):
        assert deliver(hooks, message, sender=PARTNER) == Delivered("forwarded to books@example.net")
    octets = b"X-Forwarded-By-Rule: office@example.org\r\nSubject: your INVOICE 7\r\n\r\npay\r\n"
    assert sent == [("forward_by_rule", "office@example.org", ("books@example.net",), octets)]
    assert deliver(hooks, FakeMessage(octets, id="q2"), sender=PARTNER) is None  # it has been here: no loop
    assert len(sent) == 1


def test_kept_and_the_null_sender_stays_null(hooks) -> None:
    copy(hooks, "forward_by_rule.py", RULES)
    sent = hooks.host.services.send.messages
    assert deliver(hooks, FakeMessage(b"Subject: hello\r\n\r\n"), sender=PARTNER) is None
    assert sent[0][2] == ("eve@example.net", "f@example.net")
    assert deliver(hooks, FakeMessage(b"Subject: hello\r\n\r\n")) is None
    assert len(sent) == 1
    deliver(hooks, FakeMessage(b"Subject: bounce of an invoice\r\n\r\n", id="q2"))
    assert sent[1][1] is None


# ---- programs


def test_the_shell_script_archives(hooks, writable) -> None:
    copy(hooks, "deliver.d/50-archive.sh", ARCHIVE=str(writable))
    assert not hooks.host.deliver_wants(OFFICE)
    message = FakeMessage(b"Subject: x\r\n\r\n\x00\xff\r\n")
    for _ in range(2):
        assert deliver(hooks, message, ARCHIVE) == Delivered("archived as q1-archive@example.org")
    (file,) = writable.glob("*/*")
    assert file.name == "q1-archive@example.org.eml"
    assert file.read_bytes() == message.raw
    shutil.rmtree(writable)
    assert deliver(hooks, message, ARCHIVE) == Deferred("the archive cannot be written", "4.3.1")


def check(hooks, message, user=""):
    plan = hooks.host.message_check
    return hooks.run(lambda: plan.verdict(session=FakeSession(user=user), message=message, recipients=(), results=()))


def test_the_awk_check_scores_and_refuses(hooks) -> None:
    copy(hooks, "message_check.d/30-keywords.awk")

    def score(octets):
        return check(hooks, FakeMessage(octets)).score

    assert score(b"Subject: hello\r\nX-Lottery: lottery\r\n\r\nhi\r\n") == 0
    assert score(b"Subject: The LOTTERY\r\n\r\nlottery, lottery: act\r\nnow\r\n") == 3
    assert score(b"Subject: x\r\n\r\nby wire transfer. Act now!\r\n") == 3.5
    verdict = check(hooks, FakeMessage(b"Subject: x\r\n\r\nYour computer has been hacked by me.\r\n")).verdict
    assert (verdict.action, verdict.code, verdict.text) == (Action.REJECT, 550, "we have read this one before")


def test_the_worker_that_stays_counts(hooks) -> None:
    copy(hooks, "message_check.d/40-repeats.py", {"config": {"limit": 3, "score": 4}})

    def score(n, subject="Buy this", user=""):
        sender = Address(f"s{n}", "example.com") if n else None
        return check(hooks, FakeMessage(f"Subject: {subject}\r\n\r\n".encode(), sender=sender), user).score

    assert [score(n) for n in (1, 2, 2, 1)] == [0, 0, 0, 0]
    assert [score(0), score(4, " buy THIS ")] == [4, 4]
    assert score(5, user="u@example.org") == 0
    assert score(5, "other") == 0
    assert hooks.health("message_check.d/40-repeats.py").state == "ok"
