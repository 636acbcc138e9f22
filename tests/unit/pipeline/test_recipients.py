"""Who gets a message for whom: aliases and redirects keep what the sender wants reported (RFC 3461)."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.directory.resolve import Resolution
from mta.model.address import Address
from mta.model.directory import HookTarget, MailboxTarget
from mta.model.ids import UserId
from mta.model.message import Recipient
from mta.pipeline.recipients import dispose, in_place_of
from mta.pipeline.transaction import Accepted

ALIAS, TARGET, HERE = (Address.parse(text) for text in ("a+b@ours.test", "far@away.test", "me@ours.test"))
DELAY = frozenset({"DELAY"})


@pytest.mark.parametrize(("orcpt", "kept"), [(None, "rfc822;a+2Bb@ours.test"), ("rfc822;other@x.test", "rfc822;other@x.test")])
def test_targets_of_an_alias_keep_whom_the_peer_meant(orcpt, kept) -> None:
    resolution = Resolution(local=(HookTarget(HERE), MailboxTarget(UserId(1), HERE)), remote=(TARGET,))
    out = dispose([Accepted(Recipient(ALIAS, ALIAS, orcpt, DELAY), resolution)], wanted=lambda _: True)
    found = {str(row.address): (row.orcpt, row.notify) for row in out.queued.values()}
    assert found == {"far@away.test": (kept, DELAY), "me@ours.test": (kept, DELAY), "a+b@ours.test": (orcpt, DELAY)}


def test_an_address_of_its_own_says_no_more_than_the_peer_did() -> None:
    out = dispose([Accepted(Recipient(TARGET, TARGET), Resolution(remote=(TARGET,)))])
    assert [row.orcpt for row in out.queued.values()] == [None]
    wide = Address("jürgen", "ours.test")
    out = dispose([Accepted(Recipient(wide, wide), Resolution(remote=(TARGET,)))])
    assert [row.orcpt for row in out.queued.values()] == [None]


def test_a_redirect_reports_as_those_in_whose_place_it_is() -> None:
    new = [Accepted(Recipient(TARGET, TARGET), Resolution(remote=(TARGET,)))]
    [one] = in_place_of([Recipient(ALIAS, ALIAS, "rfc822;x@y.test", DELAY)], new)
    assert (one.recipient.address, one.recipient.original, one.recipient.orcpt, one.recipient.notify) == (
        TARGET,
        ALIAS,
        "rfc822;x@y.test",
        DELAY,
    )
    [one] = in_place_of([Recipient(ALIAS, ALIAS, notify=DELAY), Recipient(HERE, HERE, notify=frozenset({"NEVER"}))], new)
    assert (one.recipient.original, one.recipient.orcpt, one.recipient.notify) == (TARGET, None, DELAY)
