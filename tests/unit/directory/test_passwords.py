"""Verification, its cache, and what an unknown account costs."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time

import pytest

from mta.directory import passwords as module
from mta.directory.passwords import CACHE_SECONDS, MAX_PASSWORD, Passwords, hash_password


class Turned:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def stored():
    return hash_password("secret")


@pytest.fixture
def count(monkeypatch):
    calls = []
    real = module._verify
    monkeypatch.setattr(module, "_verify", lambda phc, octets: calls.append(phc) or real(phc, octets))
    return calls


def test_right_wrong_and_unknown(stored):
    async def run():
        passwords = Passwords()
        assert await passwords.verify(stored, "secret")
        assert not await passwords.verify(stored, "Secret")
        assert not await passwords.verify(None, "secret")
        assert not await passwords.verify("rubbish", "secret")
        passwords.close()

    asyncio.run(run())


def test_hash_is_argon2id_with_bounds():
    assert hash_password("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    for bad in ("", "x" * (MAX_PASSWORD + 1)):
        with pytest.raises(ValueError, match="characters"):
            hash_password(bad)


def test_success_is_remembered_for_a_while_and_failure_never(stored, count):
    async def run():
        clock = Turned()
        passwords = Passwords(clock)
        for _ in range(3):
            assert await passwords.verify(stored, "secret")
        assert len(count) == 1
        for _ in range(2):
            assert not await passwords.verify(stored, "wrong")
        assert len(count) == 3
        clock.now = CACHE_SECONDS + 1
        assert await passwords.verify(stored, "secret")
        assert len(count) == 4

    asyncio.run(run())


def test_auth_cache_mix_up(stored):
    """CVE-2025-30189: what is remembered of one user says nothing of another, in any order and at once."""
    others = {"alice": (stored, "secret"), "bob": (hash_password("other"), "other"), "carol": (hash_password("secret"), "secret")}

    async def run():
        passwords = Passwords()
        questions = [(user, password) for user in others for password in ("secret", "other", "secret ", "")] * 3
        answers = await asyncio.gather(*(passwords.verify(others[user][0], password) for user, password in questions))
        assert answers == [others[user][1] == password for user, password in questions]
        for user, password in questions:  # now from the cache
            assert await passwords.verify(others[user][0], password) is (others[user][1] == password)
        assert not await passwords.verify(None, "secret")
        passwords.close()

    asyncio.run(run())


def test_unknown_account_hashes_too_and_is_never_cached(stored, count):
    async def run():
        passwords = Passwords()
        await passwords.verify(None, "secret")
        await passwords.verify(None, "secret")
        assert len(count) == 2

    asyncio.run(run())


def test_equal_questions_at_once_are_asked_once(stored, count):
    async def run():
        passwords = Passwords()
        assert all(await asyncio.gather(*(passwords.verify(stored, "secret") for _ in range(50))))
        assert len(count) == 1

    asyncio.run(run())


def test_client_that_goes_away_leaves_the_answer_to_the_others(stored, count):
    async def run():
        passwords = Passwords()
        gone = asyncio.ensure_future(passwords.verify(stored, "secret"))
        stays = asyncio.ensure_future(passwords.verify(stored, "secret"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays
        assert len(count) == 1

    asyncio.run(run())


def test_the_loop_goes_on_while_passwords_are_verified(stored):
    async def run():
        passwords = Passwords()
        work = [asyncio.ensure_future(passwords.verify(stored, f"wrong {n}")) for n in range(6)]
        longest, last = 0.0, time.monotonic()
        while not all(task.done() for task in work):
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert longest < 0.5

    asyncio.run(run())


def test_cache_is_bounded(stored, monkeypatch):
    monkeypatch.setattr(module, "CACHE_SIZE", 2)
    monkeypatch.setattr(module, "_verify", lambda phc, octets: True)

    async def run():
        passwords = Passwords()
        for n in range(5):
            await passwords.verify(f"hash {n}", "x")
        assert list(passwords._known) == ["hash 3", "hash 4"]

    asyncio.run(run())
