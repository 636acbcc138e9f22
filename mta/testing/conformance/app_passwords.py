"""``AppPasswords``: further passwords of accounts."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses

import pytest

from mta.model.errors import AlreadyExists, NoSuchUser
from mta.model.ids import UserId
from mta.testing.conformance.backend import Backend, arrive
from mta_hooks.backends import Database
from mta_hooks.backends.app_passwords import AppPassword, AppPasswords, app_passwords_of

PHONE = AppPassword("phone", "abcd", "h1", "keys", ("imap", "smtp"), 1.7e9)
LAPTOP = AppPassword("laptop", "efgh", "h2", made=1.8e9)


def _kept(db: Database) -> AppPasswords:
    found = app_passwords_of(db.directory)
    assert found is not None
    return found


class AppPasswordsConformance:
    def test_they_are_kept_by_name(self, backend: Backend) -> None:
        async def write(db: Database) -> None:
            user, _ = await arrive(db)
            assert await _kept(db).list(user.id) == []
            await _kept(db).add(user.id, PHONE)
            await _kept(db).add(user.id, LAPTOP)
            with pytest.raises(AlreadyExists):
                await _kept(db).add(user.id, dataclasses.replace(LAPTOP, name="phone"))
            with pytest.raises(NoSuchUser):
                await _kept(db).add(UserId(10**9), PHONE)

        async def read(db: Database) -> None:
            user, _ = await arrive(db)
            assert await _kept(db).list(user.id) == [LAPTOP, PHONE]
            assert await _kept(db).list(UserId(10**9)) == []
            await _kept(db).note_use(user.id, "phone", 1.9e9)
            await _kept(db).note_use(user.id, "gone", 1.9e9)
            assert await _kept(db).list(user.id) == [LAPTOP, dataclasses.replace(PHONE, used=1.9e9)]
            await db.directory.set_password(user.id, "new")
            await _kept(db).revoke(user.id, "phone")
            with pytest.raises(NoSuchUser):
                await _kept(db).revoke(user.id, "phone")
            assert await _kept(db).list(user.id) == [LAPTOP]

        backend.run(write, read)

    def test_they_go_with_their_account(self, backend: Backend) -> None:
        async def scenario(db: Database) -> None:
            user, _ = await arrive(db)
            await _kept(db).add(user.id, PHONE)
            await db.directory.delete_user(user.id)
            assert await _kept(db).list(user.id) == []
            again, _ = await arrive(db)
            assert await _kept(db).list(again.id) == []

        backend.run(scenario)
