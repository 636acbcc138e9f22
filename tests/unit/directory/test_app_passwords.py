"""App passwords: how they are written, what they open, and that a wrong one costs no hash for each that there is."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.directory.app_passwords import make, normalised, tag_of
from mta.directory.builtin import DirectoryPlugin
from mta.model.address import Address
from mta.model.directory import AuthFail, AuthOk
from mta.testing.memory import MemoryDatabase
from mta_hooks.backends import DatabaseOptions
from mta_hooks.backends.app_passwords import AppPassword

ONE, TWO = "abcd-efgh-ijkm-npqr-stuv", "bcde-efgh-ijkm-npqr-stuv"


class Counting:
    """In place of ``Passwords``: a hash is the password with "#" before it."""

    def __init__(self):
        self.asked = 0

    async def verify(self, stored, password):
        self.asked += 1
        return stored == f"#{password}"


def tried(credential, service="imap", *, enabled=True):
    """(answer, hashes tried, whether a use was noted)"""

    async def scenario():
        db = MemoryDatabase(DatabaseOptions("/nonexistent"))
        [user] = await db.directory.add_users([(Address("bob", "a.test"), "#own")])
        for name, password, services in (("one", ONE, ()), ("two", TWO, ("smtp",))):
            await db.directory.app_passwords.add(user.id, AppPassword(name, tag_of(password), f"#{password}", services=services))
        await db.directory.set_enabled(user.id, enabled)
        counting = Counting()
        answer = await DirectoryPlugin(db.directory, counting).auth_verify(service, "bob@a.test", credential)
        used = [one.name for one in await db.directory.app_passwords.list(user.id) if one.used]
        return answer, counting.asked, used, user.id

    return asyncio.run(scenario())


def test_any_of_them_opens_where_it_is_for():
    answer, asked, used, user = tried(ONE)
    assert (answer, asked, used) == (AuthOk("bob@a.test", user, "one"), 1, ["one"])
    assert tried(TWO, "smtp")[0] == AuthOk("bob@a.test", user, "two")
    answer, _, used, _ = tried(TWO, "imap")
    assert isinstance(answer, AuthFail)
    assert used == []
    assert tried("own")[:3] == (AuthOk("bob@a.test", user), 1, [])
    assert isinstance(tried(ONE, enabled=False)[0], AuthFail)


@pytest.mark.parametrize(("credential", "hashes"), [("wrong", 1), ("zzzz-efgh-ijkm-npqr-stuv", 1), ("abcd-efgh-ijkm-npqr-stuz", 2)])
def test_a_wrong_one_costs_one_hash_more_at_most(credential, hashes):
    answer, asked, _, _ = tried(credential)
    assert isinstance(answer, AuthFail)
    assert asked == hashes


@pytest.mark.parametrize("text", [ONE, ONE.upper(), ONE.replace("-", " "), ONE.replace("-", "")])
def test_it_is_read_as_people_type_it(text):
    assert normalised(text) == ONE


@pytest.mark.parametrize("text", ["", "own", ONE + "x", ONE[:-1] + "l", ONE[:-1] + "é", "a-" * 1000])
def test_other_passwords_are_not_taken_for_one(text):
    assert normalised(text) is None


def test_what_is_made_is_read_and_its_tag_is_new():
    taken = set()
    for _ in range(200):
        made = make(taken)
        assert normalised(made) == made
        assert tag_of(made) not in taken
        taken.add(tag_of(made))
