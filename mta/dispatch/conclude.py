"""From what was said about a recipient to what is written: result, next attempt, notifications, and a DSN where one is due."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mta.dispatch.bounce import Bouncer
from mta.dispatch.notify import HOOKS, DispatchHooks, notification
from mta.dispatch.retry import Schedule, SteadyClock
from mta.model.delivery import ERROR_HOLD, DeliveryPolicy, Leased, Outcome, QueuedMessage, Result, Trouble
from mta.model.errors import HookFailed, TemporaryFailure
from mta.model.message import Intake, LocalDelivery, Notification
from mta.model.pipe import shown
from mta.obs.log import Log
from mta.obs.metrics import DELAY, DELIVERIES
from mta.wire.dsn import RecipientReport
from mta.wire.dsn.report import Action

_POSTPONE = 60.0
MISSED = "554 5.4.7 not delivered by the time that its sender gave"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was said about one recipient.

    reply     with its code: 2xx done, 5xx failed, all else is for later
    delivery  into a mailbox, still to be done
    delay     seconds until the next attempt, instead of the schedule's
    least     seconds before which another attempt is of no use
    confirms  the next hop reports success itself, so we do not
    untimed   the next hop does not know the time that the message has, so we tell that it went there
    policy    of a hook, before the schedule's
    trouble   why it is for later: a hook failed
    """

    leased: Leased
    reply: str
    remote: str = ""
    delivery: LocalDelivery | None = None
    delay: float | None = None
    least: float = 0.0
    confirms: bool = False
    untimed: bool = False
    policy: DeliveryPolicy | None = None
    trouble: Trouble | None = None


class Settlement(NamedTuple):
    """Written together or not at all."""

    outcomes: tuple[Outcome, ...]
    submissions: tuple[Intake, ...] = ()


class Concluder:
    def __init__(
        self, schedule: Schedule, clock: SteadyClock, bouncer: Bouncer, hooks: DispatchHooks, log: Log, hold_after: int = 3
    ) -> None:
        """``hold_after``: attempts in a row that an error of the same hook fails before the recipient is held."""
        self._schedule = schedule
        self._clock = clock
        self._bouncer = bouncer
        self._hooks = hooks
        self._log = log
        self._hold_after = hold_after

    async def conclude(self, message: QueuedMessage, findings: Sequence[Finding]) -> Settlement:
        """All findings are about this message. Raises nothing: a failure that cannot be reported now waits a minute."""
        outcomes: list[Outcome] = []
        reports: list[RecipientReport] = []
        reported: list[int] = []
        for finding in findings:
            outcome = self._outcome(finding)
            if (action := _reported(outcome, finding)) is not None:
                reports.append(self._report(outcome, action, finding.policy))
                reported.append(len(outcomes))
            outcomes.append(outcome)
        self.say(outcomes)
        if not reports or (message.sender is None and not self._bouncer.tells_of(message, reports)):
            return Settlement(tuple(outcomes))
        mark = ",".join(f"{outcomes[n].leased.row}/{outcomes[n].leased.attempts}/{outcomes[n].result}" for n in reported)
        try:
            intake = await self._bouncer.report(message, reports, mark, self._clock.now())
        except TemporaryFailure as exc:
            self._log.warning("dsn.postponed", id=message.id, reason=str(exc))
            trouble = exc.trouble if isinstance(exc, HookFailed) else None
        except Exception:  # noqa: BLE001  # a report that cannot be made must not stop the queue, nor be forgotten
            self._log.error("dsn.mistake", id=message.id, exc_info=True)
            for n in reported:
                if outcomes[n].result == "failed":
                    held = f"its failure could not be reported: {outcomes[n].reply}"
                    outcomes[n] = replace(outcomes[n], result="held", reply=held, notifications=())
            return Settlement(tuple(outcomes))
        else:
            return Settlement(tuple(outcomes), (intake,) if intake is not None else ())
        for n in reported:
            if outcomes[n].result == "failed":
                outcomes[n] = self._unreported(outcomes[n].leased, trouble)
            elif outcomes[n].result == "deferred":
                outcomes[n] = replace(outcomes[n], warned=False)
        return Settlement(tuple(outcomes))  # what was delivered is never sent twice for the sake of a report

    def _unreported(self, leased: Leased, trouble: Trouble | None) -> Outcome:
        counted = count(leased.trouble, trouble)
        if counted is not None and counted.times >= self._hold_after:
            return self._held_for(leased, counted)
        return replace(self._later(leased, _POSTPONE), trouble=counted)

    def untried(self, leased: Leased) -> Settlement:
        """Give the row back as it was."""
        return Settlement((self._later(leased, 0.0),))

    def missed(self, message: QueuedMessage) -> bool:
        """Nobody is to be asked any more: its time is over."""
        return self._schedule.missed(message)

    def postpone(self, rows: Sequence[Leased], seconds: float) -> Settlement:
        """It is not their turn yet."""
        return Settlement(tuple(self._later(leased, seconds) for leased in rows))

    def hold(self, rows: Sequence[Leased], reason: str) -> Settlement:
        """Keep them until somebody releases them; this was no attempt."""
        outcomes = tuple(Outcome(leased, "held", reason[:1000], attempted=False) for leased in rows)
        self.say(outcomes)
        return Settlement(outcomes)

    def say(self, outcomes: Sequence[Outcome]) -> None:
        """Tell the log, and count."""
        for outcome in outcomes:
            leased = outcome.leased
            DELIVERIES[leased.transport, outcome.result].value += 1
            if outcome.result in ("delivered", "relayed"):
                DELAY.observe(max(0.0, self._clock.now() - leased.message.received_at))
            self._log.info(
                f"delivery.{outcome.result}",
                id=leased.message.id,
                recipient=leased.address,
                reply=outcome.reply,
                remote=outcome.remote,
                attempts=leased.attempts + 1,
            )

    def _later(self, leased: Leased, seconds: float) -> Outcome:
        due = self._clock.due() + seconds if seconds else leased.due
        return Outcome(leased, "deferred", leased.last_reply, due=due, attempted=False, trouble=leased.trouble)

    def _outcome(self, finding: Finding) -> Outcome:
        leased, reply, remote = finding.leased, finding.reply[:1000], finding.remote
        due, warned = 0.0, False
        trouble = count(leased.trouble, finding.trouble)
        result: Result
        if reply.startswith("2"):
            result = "delivered" if leased.transport == "local" else "relayed"
        elif reply.startswith("5"):
            result = "failed"
        elif trouble is not None and trouble.times >= self._hold_after:
            return self._held_for(leased, trouble)
        elif self._schedule.missed(leased.message):
            result, reply = "failed", f"{MISSED}, last answer: {reply}"[:1000]
        elif self._schedule.expired(leased, policy := self._schedule.policy_of(leased, reply, remote, finding.policy)):
            result, reply = "failed", f"554 5.4.7 delivery time expired, last answer: {reply}"[:1000]
        else:
            result = "deferred"
            wait = self._schedule.wait(leased.attempts + 1, policy) if finding.delay is None else finding.delay
            due = self._schedule.until_deadline(leased, self._clock.due() + max(wait, finding.least))
            warned = self._schedule.warns(leased, policy)
        notifications: tuple[Notification, ...] = ()
        if (durable := self._hooks.durable) and HOOKS.get(result) in durable:
            notifications = (notification(leased, result, reply, remote, self._clock.now(), due or None),)
        return Outcome(leased, result, reply, remote, due, finding.delivery, warned, notifications=notifications, trouble=trouble)

    def _held_for(self, leased: Leased, trouble: Trouble) -> Outcome:
        """Into the error hold: no more attempts until somebody has looked at it."""
        self._log.error(
            "queue.error_hold",
            id=leased.message.id,
            recipient=leased.address,
            plugin=trouble.plugin,
            hook=trouble.hook,
            file=trouble.file,
            line=trouble.line,
            error=trouble.error,
            times=trouble.times,
        )
        return Outcome(leased, "held", reason_of(trouble), trouble=trouble)

    def _report(self, outcome: Outcome, action: Action, policy: DeliveryPolicy | None) -> RecipientReport:
        leased = outcome.leased
        return RecipientReport(
            address=shown(leased.address),
            action=action,
            orcpt=leased.orcpt,
            diagnostic=outcome.reply,
            remote=outcome.remote,
            attempted=self._clock.now(),
            retry_until=self._schedule.until(leased, self._schedule.policy_of(leased, outcome.reply, outcome.remote, policy))
            if action == "delayed"
            else None,
        )


def count(old: Trouble | None, new: Trouble | None) -> Trouble | None:
    """Add one failed attempt to those before it. A hook that was not called leaves things as they were."""
    if new is None or (new.times == 0 and old is not None):
        return new and old
    if old is not None and (old.plugin, old.hook) == (new.plugin, new.hook):
        return replace(new, times=old.times + new.times)
    return new


def reason_of(trouble: Trouble) -> str:
    """Why it is held, in one line without what the exception said: "error: plugin ticket failed 3 times in deliver (ticket.py:12)"."""
    place = f" ({trouble.file}:{trouble.line})" if trouble.file else ""
    if trouble.crashes:
        return f"{ERROR_HOLD}the worker died {trouble.crashes} times in {trouble.hook} of plugin {trouble.plugin}{place}"[:1000]
    times = "once" if trouble.times == 1 else f"{trouble.times} times"
    return f"{ERROR_HOLD}plugin {trouble.plugin} failed {times} in {trouble.hook}{place}"[:1000]


def _reported(outcome: Outcome, finding: Finding) -> Action | None:
    """RFC 3461 §4.1, §5.2, §6, RFC 2852 §4.1.2, §4.2: what the sender of this recipient wants to hear."""
    if outcome.leased.message.sender is None:
        return "failed" if outcome.result == "failed" else None
    notify = outcome.leased.notify
    if outcome.result == "failed":
        return "failed" if not notify or "FAILURE" in notify else None
    if outcome.result == "deferred":
        return "delayed" if outcome.warned and (not notify or "DELAY" in notify) else None
    if outcome.result == "relayed" and (finding.untimed or outcome.leased.message.by_mode.endswith("T")) and "NEVER" not in notify:
        return "relayed"
    if notify and "SUCCESS" in notify and not finding.confirms:
        return "delivered" if outcome.result == "delivered" else "relayed"
    return None
