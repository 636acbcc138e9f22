"""When to try again, when to warn, when to give up; and a clock that a jump of the machine's does not fool (RFC 5321 §4.5.4.1)."""
# SPDX-License-Identifier: Apache-2.0

import random
from dataclasses import replace

from mta.config.delivery import RetryRule
from mta.config.sections import QueueSection
from mta.dispatch.rules import Answers, Names
from mta.model.delivery import DeliveryPolicy, Leased, QueuedMessage
from mta_hooks.services import Clock

LEAST_ATTEMPTS = 3  # no recipient is given up before: a machine that was off for a week, or a wrong clock, expires nothing
_WARN_ATTEMPTS = 2
_RULED = ("retry", "lifetime", "delay_warning")


class SteadyClock:
    """The wall clock, and beside it the time since the start on the monotonic one.

    A jump forward must not make messages old, one backward must not put retries off: so ``due`` takes the later of the two,
    ``age`` counts by the earlier.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.now() - clock.monotonic()

    def now(self) -> float:
        """Wall clock, for records and reports."""
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def due(self) -> float:
        return max(self._clock.now(), self._clock.monotonic() + self._offset)

    def age(self, since: float) -> float:
        return min(self._clock.now(), self._clock.monotonic() + self._offset) - since


class Schedule:
    """The waits of the config, or of a policy where it has an opinion; ``policy_of`` makes one of its tables, and of a plugin's."""

    def __init__(self, section: QueueSection, clock: SteadyClock) -> None:
        self._waits = section.retry
        self._jitter = section.jitter
        self._lifetime = section.lifetime
        self._warning = section.delay_warning
        self._sites, self._answers = Names(section.sites), Answers(section.answers)
        self._tables = bool(section.sites or section.answers)
        self._clock = clock
        self.down = min(section.retry[0], 60.0)
        """Seconds that a destination is left alone when none of its hosts works."""

    def policy_of(self, leased: Leased, reply: str, remote: str, policy: DeliveryPolicy | None) -> DeliveryPolicy | None:
        """What holds for this recipient after this answer: a plugin's word, then the config's for the answer, then for the site."""
        if not self._tables:
            return policy
        site: RetryRule | None = (
            self._sites.find(leased.address.domain) or (remote and self._sites.find(remote.partition("[")[0])) or None
        )
        rules = [one for one in (policy, self._answers.find(reply), site) if one is not None]
        if not rules or (len(rules) == 1 and policy is not None):
            return policy
        said = {name: next((v for one in rules if (v := getattr(one, name)) is not None), None) for name in _RULED}
        return replace(policy or DeliveryPolicy(), **said)

    def missed(self, message: QueuedMessage) -> bool:
        """Had it to be there by now, or come back (RFC 2852, by-mode R)?"""
        return message.deliver_by is not None and message.by_mode.startswith("R") and self._clock.now() >= message.deliver_by

    def until_deadline(self, leased: Leased, due: float) -> float:
        """``due``, or the deadline when that comes before and something has to be done then."""
        by = leased.message.deliver_by
        if by is None or (leased.delay_warned and not leased.message.by_mode.startswith("R")):
            return due
        return by if self._clock.now() < by < due else due

    def wait(self, attempts: int, policy: DeliveryPolicy | None = None) -> float:
        """Seconds from the attempt with this number (from 1) to the next."""
        waits = policy.retry if policy is not None and policy.retry else self._waits
        return self.vary(waits[min(attempts, len(waits)) - 1])

    def vary(self, seconds: float) -> float:
        return seconds * (1 + self._jitter * (2 * random.random() - 1))  # noqa: S311  # spreads load

    def expired(self, leased: Leased, policy: DeliveryPolicy | None = None) -> bool:
        """``leased.attempts`` finished attempts and the present one were the last."""
        return leased.attempts + 1 >= LEAST_ATTEMPTS and self._clock.age(leased.message.received_at) >= self._life(policy)

    def warns(self, leased: Leased, policy: DeliveryPolicy | None = None) -> bool:
        """Is it time for the one delay notice?"""
        warning = self._warning if policy is None or policy.delay_warning is None else policy.delay_warning
        if leased.delay_warned:
            return False
        by = leased.message.deliver_by
        if by is not None and leased.message.by_mode.startswith("N") and self._clock.now() >= by:
            return True  # RFC 2852 §4.1.4: late, still being tried
        if not warning or leased.attempts + 1 < _WARN_ATTEMPTS:
            return False
        return self._clock.age(leased.message.received_at) >= warning

    def until(self, leased: Leased, policy: DeliveryPolicy | None = None) -> float:
        """Wall clock until which it is tried."""
        return leased.message.received_at + self._life(policy)

    def _life(self, policy: DeliveryPolicy | None) -> float:
        return self._lifetime if policy is None or policy.lifetime is None else policy.lifetime
