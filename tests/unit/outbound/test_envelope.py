"""Commands and what they need of the next hop."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.model.address import Address
from mta.model.delivery import Leased, QueuedMessage
from mta.model.ids import BlobId, QueueId
from mta.outbound.envelope import Unsendable, mail_command, most_recipients, parse_features, rcpt_command, requirements

ALL = {"SIZE": "", "8BITMIME": "", "SMTPUTF8": "", "DSN": ""}


def message(sender="bob@here.test", **more):
    fixed = {"envid": None, "ret": None, "smtputf8": False, "eightbit": False, "message_id": "", "user": ""}
    address = Address.parse(sender) if sender else None
    return QueuedMessage(QueueId("q"), "smtp", address, BlobId(1), 120, 20, 0.0, **(fixed | more))


def recipient(address="x@dest.test", **more):
    fixed = {"orcpt": None, "notify": frozenset()}
    return Leased(1, message(), Address.parse(address), "remote", "dest.test", None, attempts=0, due=0.0, last_reply="", delay_warned=False, **(fixed | more))  # fmt: skip


def test_features():
    lines = ("mx.test greets", "PIPELINING", "size 1000", "AUTH PLAIN LOGIN", "AUTH=CRAM-MD5", "8bitmime")
    assert parse_features(lines) == {"PIPELINING": "", "SIZE": "1000", "AUTH": "PLAIN LOGIN CRAM-MD5", "8BITMIME": ""}


def test_mail_says_only_what_is_offered():
    one = message(smtputf8=True, eightbit=True, ret="FULL", envid="E1")
    assert mail_command(one, [recipient()], {}) == "MAIL FROM:<bob@here.test>"
    assert mail_command(one, [recipient()], ALL) == "MAIL FROM:<bob@here.test> SIZE=100 SMTPUTF8 BODY=8BITMIME RET=FULL ENVID=E1"
    assert mail_command(message(priority=-2), [recipient()], {"MT-PRIORITY": ""}) == "MAIL FROM:<bob@here.test> MT-PRIORITY=-2"
    assert mail_command(message(priority=-2), [recipient()], {}) == "MAIL FROM:<bob@here.test>"
    assert mail_command(message(None), [recipient()], {}) == "MAIL FROM:<>"
    assert mail_command(message(), [recipient("ü@dest.test")], ALL) == "MAIL FROM:<bob@here.test> SIZE=100 SMTPUTF8"
    assert mail_command(message('"a b"@here.test'), [recipient()], {}) == 'MAIL FROM:<"a b"@here.test>'


def test_rcpt():
    one = recipient(orcpt="rfc822;old+40x", notify=frozenset({"DELAY", "FAILURE"}))
    assert rcpt_command(one, {}) == "RCPT TO:<x@dest.test>"
    assert rcpt_command(one, ALL) == "RCPT TO:<x@dest.test> NOTIFY=DELAY,FAILURE ORCPT=rfc822;old+40x"
    assert rcpt_command(recipient(orcpt="utf-8;ü@x"), {"DSN": ""}) == "RCPT TO:<x@dest.test>"


def test_requirements():
    assert requirements(message(), [recipient()], {}) == (False, False)
    assert requirements(message(smtputf8=True, eightbit=True), [recipient()], {}) == (True, True)
    assert requirements(message(smtputf8=True, eightbit=True), [recipient()], ALL) == (False, False)
    assert requirements(message(), [recipient()], {"SIZE": "100"}) == (False, False)
    for one, to, features in (
        (message(), recipient(), {"SIZE": "99"}),
        (message("ü@here.test"), recipient(), {}),
        (message(), recipient("ü@dest.test"), {"8BITMIME": ""}),
    ):
        with pytest.raises(Unsendable, match=r"^55\d 5\.\d\.\d "):
            requirements(one, [to], features)


def test_wishes_travel_where_they_are_understood():
    one = message(priority=4, deliver_by=1060.0, by_mode="RT", requiretls=True)
    everything = {"MT-PRIORITY": "", "DELIVERBY": "", "REQUIRETLS": ""}
    assert set(mail_command(one, [recipient()], everything, 1000.0).split()[2:]) == {"MT-PRIORITY=4", "BY=60;RT", "REQUIRETLS"}
    assert "BY=-40;RT" in mail_command(one, [recipient()], everything, 1100.0)
    assert "=" not in mail_command(one, [recipient()], {})


@pytest.mark.parametrize(
    ("limits", "most"),
    [("RCPTMAX=20", 20), ("MAILMAX=5 rcptmax=7", 7), ("RCPTMAX=x", 0), ("RCPTMAX=", 0), ("", 0), ("RCPTMAX=9999999", 0)],
)
def test_limits_that_the_hop_names(limits, most):
    assert most_recipients({"LIMITS": limits}) == most
