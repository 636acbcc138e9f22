"""Lanes: tasks that carry batches to a site, one after another, over one connection; and the local lanes beside them."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mta.config.sections import Config
from mta.dispatch.conclude import MISSED, Concluder, Finding, Settlement
from mta.dispatch.gate import Gate
from mta.dispatch.line import Batch
from mta.dispatch.load import Loader
from mta.dispatch.modify import Edited, Modifier
from mta.dispatch.notify import DispatchHooks
from mta.dispatch.rates import TOO_FAST
from mta.dispatch.restate import restate
from mta.dispatch.retry import Schedule, SteadyClock
from mta.dispatch.settle import Settler
from mta.dispatch.sites import FIRST, Site, Sites
from mta.local.transport import LocalTransport
from mta.model.delivery import QueuedMessage, Route, Trouble
from mta.model.errors import HookFailed, TemporaryFailure
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.outbound.courier import Courier, HopDown, Outbound, Result
from mta.outbound.hosts import Destination
from mta.pipeline.message import MailMessage
from mta.pluginhost.flight import Recorder
from mta.pluginhost.said import heard, journal

LOCAL_LANES = 20  # ``deliver`` hooks at work: each may hold a message in memory
_PRUNE = 10.0
_MISTAKE = "451 4.3.0 internal error"
_UNREADY = "451 4.3.0 message cannot be prepared at present"


class Lanes:
    def __init__(  # noqa: PLR0913  # the parts that one batch passes through
        self,
        *,
        config: Config,
        outbound: Outbound,
        local: LocalTransport,
        hooks: DispatchHooks,
        loader: Loader,
        gate: Gate,
        modifier: Modifier,
        concluder: Concluder,
        settler: Settler,
        schedule: Schedule,
        clock: SteadyClock,
        tasks: Tasks,
        log: Log,
        recorder: Recorder,
    ) -> None:
        self._outbound = outbound
        self._local = local
        self._hooks = hooks
        self._loader = loader
        self._gate = gate
        self._modifier = modifier
        self._concluder = concluder
        self._settler = settler
        self._schedule = schedule
        self._tasks = tasks
        self._log = log
        self._recorder = recorder
        self._running: set[asyncio.Task[Any]] = set()
        self._put_off: list[tuple[Site, Batch]] = []
        self._clock = clock
        self._prune_at = 0.0
        self._closed = False
        limits = config.queue
        self._remote = Sites(
            lanes=limits.concurrency,
            per_site=limits.concurrency_per_destination,
            first=FIRST,
            serve=lambda site: self._start(site, remote=True),
            monotonic=clock.monotonic,
            rules=limits.sites,
            rates=limits.rates,
            per_sender=limits.concurrency_per_sender,
            later=lambda seconds, look, site: asyncio.get_running_loop().call_later(seconds, look, site),
        )
        self._here = Sites(
            lanes=LOCAL_LANES,
            per_site=LOCAL_LANES,
            first=LOCAL_LANES,
            serve=lambda site: self._start(site, remote=False),
            monotonic=clock.monotonic,
        )

    def full(self) -> list[Site]:
        """Sites that can take no more at present."""
        return [*self._remote.full, *self._here.full]

    def shed(self) -> None:
        """Make room at slow sites that one sender fills."""
        for sites in (self._remote, self._here):
            if sites.full:
                for batch, wait in sites.shed():
                    self._settler.add(self._concluder.postpone(batch.recipients, wait))

    def prune(self) -> None:
        """Forget sites that were left alone for long enough; now and then."""
        if (now := self._clock.monotonic()) >= self._prune_at:
            self._prune_at = now + _PRUNE
            self._remote.prune()

    def forgive(self) -> None:
        self._remote.forgive()

    def push(self, destination: Destination, batch: Batch) -> None:
        sites = self._here if destination.route.transport in ("local", "pipe") else self._remote
        site = sites.at(destination)
        if sites.down_for(site):
            self._put_off.append((site, batch))
            if len(self._put_off) == 1:
                self._tasks.spawn(self._put_them_off(), "queue-defer")
            return
        if batch.policy is not None:
            sites.obey(site, batch.policy)
        if wait := sites.admit(site, batch):
            self._settler.add(self._concluder.postpone(batch.recipients, wait))
            return
        if len(site.names) < 1000:  # bounds what one smarthost collects
            site.names.add(batch.recipients[0].site)
        sites.push(site, batch)

    def unstarted(self) -> list[Batch]:
        """Take what no lane has begun."""
        out = []
        for sites in (self._remote, self._here):
            for site in list(sites):
                while (batch := sites.take(site)) is not None:
                    out.append(batch)
        return out

    def cancel(self) -> None:
        self._closed = True
        for task in list(self._running):
            task.cancel()

    def _start(self, site: Site, *, remote: bool) -> None:
        if self._closed:
            return
        lane = self._carry(site) if remote else self._deliver(site)
        task = self._tasks.spawn(lane, f"lane {site.destination}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _conclude(self, message: QueuedMessage, findings: Sequence[Finding]) -> None:
        self._add(await self._concluder.conclude(message, findings))

    def _add(self, settlement: Settlement) -> None:
        """With what hooks said on the way, for the trace."""
        if (steps := heard()) and settlement.outcomes:
            first, *others = settlement.outcomes
            settlement = settlement._replace(outcomes=(replace(first, steps=(*first.steps, *steps)), *others))
        self._settler.add(settlement)

    # ---- to others

    async def _carry(self, site: Site) -> None:
        sites, served = self._remote, 0
        courier = self._outbound.open(site.destination)
        site.couriers.add(courier)
        try:
            with journal():
                while (batch := await sites.next_batch(site, served)) is not None:
                    served += 1
                    heard()  # of a batch that went back into the line
                    try:
                        with self._recorder.of("queue", batch.message.id, [leased.row for leased in batch.recipients]):
                            goes_on = await self._attempt(site, courier, batch)
                    finally:
                        sites.done(batch)
                    if not goes_on:
                        break
        finally:
            site.couriers.discard(courier)
            courier.close()
            sites.ended(site)

    async def _attempt(self, site: Site, courier: Courier, batch: Batch) -> bool:
        """Deliver one batch. False: this lane has to end."""
        message = batch.message
        if message.deliver_by is not None and self._concluder.missed(message):
            await self._conclude(message, _findings_of(batch, MISSED))
            return True
        try:
            if (plan := self._hooks.delivery_attempt) is not None:
                instead = await self._gate.ask(plan, batch, site.destination)
                if instead is not None:
                    self._add(instead)
                    return True
            edited = Edited(message, batch.recipients)
            if (plan := self._hooks.delivery_modify) is not None:
                edited = await self._modifier.edit(plan, batch)
            results = edited.results_of(batch, await courier.deliver(edited.message, edited.recipients, edited.read))
        except HopDown as exc:
            return await self._hop_down(site, batch, exc)
        except TemporaryFailure as exc:
            self._log.warning("delivery.not_modified", id=message.id, reason=str(exc))
            await self._conclude(message, _findings_of(batch, _UNREADY, trouble_behind(exc)))
            return True
        except Exception:  # noqa: BLE001  # one message must not take the lane, nor the site, with it
            self._log.error("delivery.mistake", id=message.id, destination=str(site.destination), exc_info=True)
            courier.close()
            await self._conclude(message, _findings_of(batch, _MISTAKE))
            return True
        self._remote.met(site, results[0].remote)
        if any(result.reply.startswith("4") and TOO_FAST.search(result.reply) for result in results):
            self._remote.throttled(site)
        else:
            self._remote.succeeded(site)
        await self._conclude(message, await self._findings(batch, results))
        return True

    async def _findings(self, batch: Batch, results: Sequence[Result]) -> list[Finding]:
        policy = batch.policy
        if (plan := self._hooks.delivery_status) is None:
            return [Finding(r.leased, r.reply, r.remote, confirms=r.confirms, untimed=r.untimed, policy=policy) for r in results]
        return [await restate(plan, batch.message, result, policy, self._log) for result in results]

    async def _hop_down(self, site: Site, batch: Batch, exc: HopDown) -> bool:
        if exc.permanent:
            await self._conclude(batch.message, [Finding(one, str(exc), exc.remote) for one in batch.recipients])
            return True
        if any(courier.hopeful for courier in site.couriers):  # others get through: it was one connection too many
            self._remote.put_back(site, batch)
            self._remote.refused(site)
            return False
        if not self._remote.down_for(site):
            self._log.warning("site.down", destination=str(site.destination), reason=str(exc), remote=exc.remote, rows=site.rows)
            self._remote.failed(site, str(exc), exc.remote, self._schedule.vary(self._schedule.down))
        if (trouble := trouble_behind(exc)) is not None:  # a hook that was asked for this message, not for those behind it
            await self._conclude(batch.message, _findings_of(batch, str(exc), trouble))
        batches = [] if trouble is not None else [batch]
        while (waiting := self._remote.take(site)) is not None:
            batches.append(waiting)
        await self._defer(site, batches)
        return False

    async def _defer(self, site: Site, batches: Sequence[Batch]) -> None:
        """Put off what goes to a site that is down: an attempt like any other, which costs no connection."""
        least = self._remote.down_for(site)
        for batch in batches:
            findings = [
                Finding(one, site.down_reply, site.down_remote, least=least, policy=batch.policy, trouble=_uncalled(one.trouble))
                for one in batch.recipients
            ]
            await self._conclude(batch.message, findings)

    async def _put_them_off(self) -> None:
        while self._put_off:
            batches, self._put_off = self._put_off, []
            for site, batch in batches:
                await self._defer(site, [batch])

    # ---- here

    async def _deliver(self, site: Site) -> None:
        sites = self._here
        try:
            while (batch := sites.take(site)) is not None:
                with journal():
                    await self._deliver_batch(batch, site.destination.route)
        finally:
            sites.ended(site)

    async def _deliver_batch(self, batch: Batch, route: Route) -> None:
        message, loaded = batch.message, list[MailMessage]()

        async def load() -> Any:
            if not loaded:
                loaded.append(await self._loader.load(message))
            return loaded[0]

        findings: list[Finding] = []
        for leased in batch.recipients:
            try:
                with self._recorder.of("queue", message.id, [leased.row]):
                    result = await self._local.deliver(leased, load, route.path if route.transport == "pipe" else "")
            except Exception:  # noqa: BLE001  # one recipient must not take the others with it
                self._log.error("delivery.mistake", id=message.id, recipient=str(leased.address), exc_info=True)
                findings.append(Finding(leased, _MISTAKE))
            else:
                findings.append(Finding(leased, result.reply, delivery=result.delivery, delay=result.delay, trouble=result.trouble))
        with self._recorder.of("queue", message.id, [leased.row for leased in batch.recipients]):
            await self._conclude(message, findings)


def _findings_of(batch: Batch, reply: str, trouble: Trouble | None = None) -> list[Finding]:
    return [Finding(leased, reply, policy=batch.policy, trouble=trouble) for leased in batch.recipients]


def _uncalled(trouble: Trouble | None) -> Trouble | None:
    """No hook was asked: what is counted stays."""
    return None if trouble is None else replace(trouble, times=0)


def trouble_behind(exc: BaseException | None) -> Trouble | None:
    """What a hook did wrong, when that is what an exception came of."""
    while exc is not None:
        if isinstance(exc, HookFailed):
            return exc.trouble
        exc = exc.__cause__
    return None
