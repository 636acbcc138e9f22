"""The hook ``delivery_attempt``: what is written instead of an attempt."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable

from mta.dispatch.conclude import Concluder, Finding, Settlement
from mta.dispatch.line import Batch
from mta.dispatch.redirect import Redirector, Unredirectable
from mta.dispatch.retry import SteadyClock
from mta.model.address import Address
from mta.model.delivery import Outcome, QueuedMessage, Trouble
from mta.model.errors import TemporaryFailure
from mta.model.verdict import Action
from mta.outbound.hosts import Destination
from mta.outbound.view import envelope_of
from mta.pipeline.message import MailMessage
from mta.pluginhost.plan import Decision, Plan
from mta.pluginhost.said import remember
from mta_hooks.views import Attempt

_FAILED = "451 4.3.0 temporary failure"
Load = Callable[[QueuedMessage], Awaitable[MailMessage]]


class Gate:
    def __init__(self, concluder: Concluder, redirector: Redirector, load: Load, clock: SteadyClock) -> None:
        self._concluder = concluder
        self._redirector = redirector
        self._load = load
        self._clock = clock

    async def ask(self, plan: Plan, batch: Batch, destination: Destination) -> Settlement | None:
        """None: go on. Asked before every attempt, so also for an envelope that was put off before."""
        envelope = envelope_of(batch.message, batch.recipients)
        last = max(batch.recipients, key=lambda one: one.attempts).last_reply
        attempt = Attempt(envelope.attempts + 1, str(destination), destination.route.transport, last)
        decision = await plan.verdict(envelope=envelope, attempt=attempt)
        remember(decision.steps)
        verdict = decision.verdict
        if decision.trouble is not None:
            return await self._stays(batch, _FAILED, decision.trouble)
        if verdict is None or verdict.action is Action.ACCEPT:
            return None
        if verdict.action is Action.HOLD:
            return self._hold(batch, f"held by {decision.plugin}", verdict.reason)
        if verdict.action is Action.REDIRECT:
            return await self._redirect(batch, decision)
        reply = f"{verdict.code} {verdict.enhanced} {' '.join(verdict.text.split())}"
        findings = [Finding(one, reply, delay=verdict.delay, policy=batch.policy) for one in batch.recipients]
        return await self._concluder.conclude(batch.message, findings)

    def _hold(self, batch: Batch, by: str, reason: str) -> Settlement | None:
        """Who was held by this plugin and released since goes on: somebody has looked at it."""
        if all(one.last_reply.startswith(by) for one in batch.recipients):
            return None
        return self._concluder.hold(batch.recipients, f"{by}: {' '.join(reason.split())}" if reason else by)

    async def _redirect(self, batch: Batch, decision: Decision) -> Settlement | None:
        assert decision.verdict is not None
        try:
            targets = [Address.parse(target) for target in decision.verdict.target]
        except ValueError as exc:
            return await self._stays(batch, f"451 4.3.5 {decision.plugin} redirects to no address: {exc}")
        if set(targets) == {one.address for one in batch.recipients}:
            return None
        try:
            message = await self._load(batch.message)
            intake = await self._redirector.intake(batch, targets, message, decision.plugin, self._clock.now())
        except Unredirectable as exc:
            return await self._stays(batch, str(exc))
        except TemporaryFailure:
            return await self._stays(batch, "451 4.3.0 message cannot be read at present")
        reply = f"redirected to {', '.join(map(str, targets))} by {decision.plugin}"[:1000]
        outcomes = tuple(Outcome(one, "expanded", reply) for one in batch.recipients)
        self._concluder.say(outcomes)
        return Settlement(outcomes, (intake,))

    async def _stays(self, batch: Batch, reply: str, trouble: Trouble | None = None) -> Settlement:
        findings = [Finding(one, reply, policy=batch.policy, trouble=trouble) for one in batch.recipients]
        return await self._concluder.conclude(batch.message, findings)
