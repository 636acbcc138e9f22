"""Guessing passwords is slow, for one address and for one account, over all protocols, connections and workers of a machine; the
owner is not locked out (RFC 4954 §4.4 leaves the means to us).

A built-in plugin over ``auth_policy`` and ``auth_result``. Failures fill buckets that empty by themselves: one for the client's address
(IPv6: its /64), one for the account, whatever the address. Beyond a few failures a bucket lets one attempt pass every so many seconds,
longer each time; an attempt waits for its turn before the password is looked at, and is told to come back when that is too far off.
Who has logged in to this account from this address before passes both: for such a pair only its own failures count. Other workers are
told of failures and turns over the bus; what they miss costs an attempt, no more. Left out: several machines over one database.
"""
# SPDX-License-Identifier: Apache-2.0

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from mta.model.verdict import Verdict, defer
from mta_hooks import Context, hookimpl
from mta_hooks.views import Session

LONGEST_WAIT = 20.0
"""Seconds that an attempt may wait for its turn: less than clients give a login."""
KNOWN_FOR = 30 * 86400.0
"""Seconds that a pair of account and address is remembered after its last login."""
_REFRESH = 86400.0
_MOST_BUCKETS = 30_000  # about 200 octets each
_MOST_KNOWN = 30_000
_AT_ONCE = (100, 10)
"""Attempts of one address under way, before and after its first failure; more wait, since none of them is counted yet."""
_ABANDONED = 10.0  # seconds after which half of the attempts that nobody ended are forgotten
_LATER = defer("too many failed logins, try again later", code=454, enhanced="4.7.0")
_NO_FAILURE = frozenset({"policy", "temporary failure"})


class Rule(NamedTuple):
    """``free`` failures cost nothing; the next ``first`` seconds, each further twice as much up to ``longest``; half of the failures
    are forgotten after ``half_life`` seconds."""

    free: int
    first: float
    longest: float
    half_life: float


ADDRESS = Rule(5, 1.0, 15.0, 300.0)
ACCOUNT = Rule(10, 1.25, 1.25, 90.0)  # 58 guesses in the first minute, then 48, from however many addresses
PAIR = Rule(10, 0.5, 4.0, 120.0)  # a phone with an old password must not slow its owner's other machines at home much


_RULES = {"a": ADDRESS, "u": ACCOUNT, "p": PAIR}
"""By the first letter of a key."""


@dataclass(slots=True)
class Bucket:
    """``failures`` as of ``at``; ``turn``: when the next attempt may pass; ``trying``: attempts under way as of ``tried``. Times are
    monotonic."""

    failures: float = 0.0
    at: float = 0.0
    turn: float = 0.0
    trying: float = 0.0
    tried: float = 0.0


class _Keys(NamedTuple):
    address: str
    account: str
    pair: str


class Throttle:
    """The plugin. ``tell`` says a line to the other workers, whose ``hear`` takes it."""

    def __init__(self, exempt: Sequence[str], tell: Callable[[str], None]) -> None:
        """``exempt``: networks whose addresses are not slowed as such: a webmail, a proxy that cannot say whom it speaks for."""
        self._exempt = tuple(ip_network(text, strict=False) for text in exempt)
        self._tell = tell
        self._place = lru_cache(maxsize=4096)(self._place_of)
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._known: OrderedDict[str, float] = OrderedDict()

    @hookimpl(timeout=60.0, on_error="continue")
    async def auth_policy(self, session: Session, username: str, ctx: Context) -> Verdict | None:
        keys = self._keys_of(session.client_ip, username)
        clock = ctx.clock
        wanted: tuple[str, ...] = tuple(key for key in (keys.address, keys.account) if key)
        if self._is_slow(wanted, clock.monotonic()) and await self._is_known(keys.pair, ctx):
            wanted = (keys.pair,)
        waited = 0.0
        while keys.address in wanted and self._is_crowded(keys.address, clock.monotonic()):
            if waited >= LONGEST_WAIT:
                return _LATER
            waited += 1.0
            await clock.sleep(1.0)
        now = clock.monotonic()
        wait = max((self._wait(key, now) for key in wanted), default=0.0)
        if waited + wait > LONGEST_WAIT:
            return _LATER
        self._begin(keys.address, now)
        for key in wanted:
            self._take_turn(key, now + wait)
        if wait:
            await clock.sleep(wait)
        if waited or wait:
            seconds = round(waited + wait, 2)
            ctx.log.info("auth.throttled", username=username, client=session.client_ip, session=session.id, seconds=seconds)
        return None

    @hookimpl
    async def auth_result(self, session: Session, username: str, ok: bool, reason: str, ctx: Context) -> None:
        keys = self._keys_of(session.client_ip, username)
        now = ctx.clock.monotonic()
        if (bucket := self._buckets.get(keys.address)) is not None:
            bucket.trying, bucket.tried = max(0.0, _trying(bucket, now) - 1), now
        if ok:
            await self._remember(keys.pair, ctx)
        elif reason not in _NO_FAILURE:
            found = [key for key in keys if key]
            self._tell("fail " + " ".join(found))
            self._fail(found, now)

    def hear(self, line: str, now: float) -> None:
        """What another worker's ``tell`` said."""
        word, *rest = line.split()
        if word == "fail":
            self._fail([key for key in rest[:3] if key[0] in _RULES], now)
        elif word == "turn":
            bucket = self._bucket(rest[0])
            bucket.turn = max(bucket.turn, min(float(rest[1]), now + 2 * LONGEST_WAIT))

    # ---- buckets

    def _keys_of(self, client: str, username: str) -> _Keys:
        place, address = self._place(client)
        name = username.lower()
        return _Keys(address, _digest("u", name) if name else "", _digest("p", f"{place} {name}") if name else "")

    def _place_of(self, client: str) -> tuple[str, str]:
        """What counts as one address, and its key, "" where addresses are not slowed."""
        try:
            address = ip_address(client)
        except ValueError:
            return "", ""
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        place = str(ip_network((address, 64), strict=False)) if address.version == 6 else str(address)
        exempt = any(address in network for network in self._exempt)
        return place, "" if exempt else _digest("a", place)

    def _bucket(self, key: str) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket()
            if len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket

    def _is_slow(self, keys: Sequence[str], now: float) -> bool:
        return any(self._wait(key, now) or self._is_crowded(key, now) for key in keys)

    def _is_crowded(self, key: str, now: float) -> bool:
        bucket = self._buckets.get(key)
        return bucket is not None and _trying(bucket, now) >= _AT_ONCE[bucket.failures > 0]

    def _wait(self, key: str, now: float) -> float:
        """Seconds until the next attempt may pass."""
        bucket = self._buckets.get(key)
        return max(0.0, bucket.turn - now) if bucket is not None and _interval(key, bucket, now) else 0.0

    def _take_turn(self, key: str, at: float) -> None:
        bucket = self._buckets.get(key)
        if bucket is not None and (interval := _interval(key, bucket, at)):
            bucket.turn = max(bucket.turn, at) + interval
            self._tell(f"turn {key} {bucket.turn:.3f}")

    def _begin(self, key: str, now: float) -> None:
        if key:
            bucket = self._bucket(key)
            bucket.trying, bucket.tried = _trying(bucket, now) + 1, now

    def _fail(self, keys: Sequence[str], now: float) -> None:
        for key in keys:
            bucket = self._bucket(key)
            bucket.failures, bucket.at = _left(key, bucket, now) + 1, now
            bucket.turn = max(bucket.turn, now + _interval(key, bucket, now))

    # ---- who has been here before

    async def _is_known(self, pair: str, ctx: Context) -> bool:
        if not pair:
            return False
        if pair in self._known:
            return True
        if await ctx.kv.get(pair) is None:
            return False
        self._note_known(pair, ctx.clock.monotonic() - _REFRESH)
        return True

    async def _remember(self, pair: str, ctx: Context) -> None:
        now = ctx.clock.monotonic()
        if pair and now - self._known.get(pair, now - 2 * _REFRESH) > _REFRESH:
            self._note_known(pair, now)
            await ctx.kv.set(pair, b"1", ttl=KNOWN_FOR)

    def _note_known(self, pair: str, at: float) -> None:
        self._known[pair] = at
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


def _digest(kind: str, text: str) -> str:
    """Names and addresses are kept by digest: of one size, whatever a client sends."""
    return kind + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _trying(bucket: Bucket, now: float) -> float:
    return bucket.trying * float(0.5 ** ((now - bucket.tried) / _ABANDONED))


def _left(key: str, bucket: Bucket, now: float) -> float:
    return bucket.failures * float(0.5 ** (max(0.0, now - bucket.at) / _RULES[key[0]].half_life))


def _interval(key: str, bucket: Bucket, now: float) -> float:
    """Seconds between attempts, as full as the bucket is now; 0: no bound."""
    rule = _RULES[key[0]]
    beyond = round(_left(key, bucket, now)) - rule.free
    return 0.0 if beyond < 0 else min(rule.longest, rule.first * float(2 ** min(beyond, 20)))
