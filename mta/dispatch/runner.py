"""The queue at work: lease what is due, find its next hop, deliver, settle.

One loop leases; lanes deliver (``mta.dispatch.sites``); one task settles (``mta.dispatch.settle``). A row is in our hands from the
lease to its settlement, at most ``IN_HAND`` of them, whatever waits in the queue. Attempts happen under the lease: after a
crash the successor reclaims the rows and tries again, so a remote recipient is served at least once, a mailbox exactly once.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from mta.config.sections import Config
from mta.directory.resolve import Resolver
from mta.dispatch.bounce import Bouncer
from mta.dispatch.conclude import Concluder, Finding, Settlement
from mta.dispatch.gate import Gate
from mta.dispatch.lanes import Lanes, trouble_behind
from mta.dispatch.line import Batch
from mta.dispatch.load import Loader
from mta.dispatch.modify import Modifier
from mta.dispatch.notify import DispatchHooks
from mta.dispatch.redirect import Redirector, Unredirectable
from mta.dispatch.retry import Schedule, SteadyClock
from mta.dispatch.settle import Settler
from mta.dispatch.sites import FULL, Site
from mta.dispatch.sources import Sources
from mta.local.transport import LocalTransport
from mta.model.delivery import RESOLVE, DeliveryPolicy, Leased, Outcome, Route, Trouble
from mta.model.errors import TemporaryFailure
from mta.model.ids import QueueId, UserId
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.outbound.courier import Outbound
from mta.outbound.hosts import Destination
from mta.outbound.view import envelope_of
from mta.pipeline.editor import Editor
from mta.pluginhost.flight import Recorder
from mta.route.router import Router
from mta_hooks.backends.database import Database
from mta_hooks.backends.queue import LEASE
from mta_hooks.services import Clock

IN_HAND = 2000  # recipients in memory: enough to keep every lane busy between two leases
AT_ONCE = 500  # in one lease
PER_MESSAGE = 100  # recipients of one transaction (RFC 5321 §4.5.3.1.8)
POLL = 5.0  # a wake-up from another process may be lost
_ROUTING = 20  # recipients of several messages whose ``route`` hook is asked by one task

LOCAL = Destination(Route("local"))


class Runner:
    """One for each machine at a time. ``owner``: the same name for every successor, and for nobody else."""

    def __init__(  # noqa: PLR0913  # everything that a delivery may touch
        self,
        *,
        config: Config,
        hooks: DispatchHooks,
        database: Database,
        resolver: Resolver,
        router: Router,
        outbound: Outbound,
        local: LocalTransport,
        clock: Clock,
        log: Log,
        tasks: Tasks,
        hostname: str,
        owner: str,
        recorder: Recorder | None = None,
    ) -> None:
        self._queue = database.queue
        self._hooks = hooks
        self._router = router
        self._sources = Sources(config.outbound) or None
        self._local = local
        self._log = log
        self._tasks = tasks
        self._owner = owner
        self._recorder = recorder or Recorder()
        self._clock = SteadyClock(clock)
        schedule = Schedule(config.queue, self._clock)
        double = config.queue.double_bounce
        bouncer = Bouncer(hostname, resolver, self._queue, hooks, log, direct=not local.deposits, double=double)
        self._concluder = Concluder(schedule, self._clock, bouncer, hooks, log, config.hooks.hold_after)
        self._settler = Settler(self._queue, self._concluder, log, self._settled, self._exceeded, lambda: len(self._hand))
        self._loader = loader = Loader(config, self._queue)
        self._redirector = redirector = Redirector(hostname, resolver, config.limits.received)
        self._lanes = Lanes(
            config=config,
            outbound=outbound,
            local=local,
            hooks=hooks,
            loader=loader,
            modifier=Modifier(loader, Editor(config, log, hostname)),
            gate=Gate(self._concluder, redirector, loader.load, self._clock),
            concluder=self._concluder,
            settler=self._settler,
            schedule=schedule,
            clock=self._clock,
            tasks=tasks,
            log=log,
            recorder=self._recorder,
        )
        self._hand: set[int] = set()
        self._woken = asyncio.Event()
        self._excluded: list[Site] = []
        self._draining = False
        self._drained = asyncio.Event()

    @property
    def in_hand(self) -> int:
        """Recipients leased and not settled."""
        return len(self._hand)

    def wake(self) -> None:
        """Rows were added or released."""
        self._woken.set()

    def forgive(self) -> None:
        """An operator wants things tried now: sites that were down are dialed again."""
        self._lanes.forgive()
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled or drained. Raises StorageDead."""
        settling = self._tasks.spawn(self._settler.run(), "queue-settle")
        settling.add_done_callback(lambda _: self._woken.set())
        try:
            await self._reclaim()
            while not self._draining:
                self._woken.clear()
                if settling.done():
                    await settling
                try:
                    if not await self._lease():
                        await self._rest()
                except TemporaryFailure as exc:
                    self._log.warning("queue.waits", reason=str(exc))
                    await asyncio.sleep(1.0)
            await self._drained.wait()
        finally:
            self._lanes.cancel()
            settling.cancel()

    async def drain(self, grace: float) -> None:
        """Lease no more, give back what nobody has begun, let deliveries at work end for ``grace`` seconds, write the results."""
        self._draining = True
        self._woken.set()
        for batch in self._lanes.unstarted():
            self._give_back(batch.recipients)
        try:
            async with asyncio.timeout(grace):
                while self._hand:
                    self._woken.clear()
                    await self._woken.wait()
        except TimeoutError:
            self._log.warning("queue.drain_incomplete", rows=len(self._hand))
        self._drained.set()

    def _give_back(self, rows: Iterable[Leased]) -> None:
        for leased in rows:
            self._settler.add(self._concluder.untried(leased))

    # ---- leasing

    async def _reclaim(self) -> None:
        while not self._draining:
            try:
                if count := await self._queue.reclaim(self._owner):
                    self._log.info("queue.reclaimed", rows=count)
                return
            except TemporaryFailure as exc:
                self._log.warning("queue.waits", reason=str(exc))
                await asyncio.sleep(1.0)

    async def _lease(self) -> bool:
        """Take more rows; False when there are none for us now."""
        room = min(IN_HAND - len(self._hand), AT_ONCE)
        if room <= 0:
            return False
        self._lanes.shed()
        self._excluded = self._lanes.full()
        exclude = {name for site in self._excluded for name in site.names}
        rows = await self._queue.lease(self._owner, room, LEASE, now=self._clock.due(), exclude=exclude)
        fresh = [row for row in rows if row.row not in self._hand]
        self._hand.update(row.row for row in fresh)
        if self._draining:  # it began while the database worked
            self._give_back(fresh)
        elif fresh:
            await self._place(fresh)
        return bool(fresh)

    async def _rest(self) -> None:
        """Until somebody wakes us or a row becomes due."""
        due = await self._queue.next_due(now=self._clock.due())
        wait = POLL if due is None else min(POLL, due - self._clock.due())
        if wait <= 0:
            wait = POLL if self._excluded or len(self._hand) >= IN_HAND else 0.05
        if self._woken.is_set():
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(wait, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            timer.cancel()
        self._lanes.prune()

    def _exceeded(self, users: Sequence[UserId], id: QueueId) -> None:
        if self._hooks.mailbox_event is not None:
            for user in users:
                self._hooks.occurrences.tell("QuotaExceed", user, queue_id=id)

    def _settled(self, leased: Leased) -> None:
        self._hand.discard(leased.row)
        if self._draining or len(self._hand) == IN_HAND // 2:
            self._woken.set()
        elif self._excluded and any(site.rows <= FULL // 2 for site in self._excluded):
            self._excluded = []
            self._woken.set()

    # ---- routing

    def _way(self, route: Route, row: Leased) -> Destination:
        domain, message = row.address.domain, row.message
        sources = self._sources.find(domain, message.sender) if self._sources is not None else ()
        return Destination.of(route, domain, requiretls=message.requiretls, sources=sources)

    async def _place(self, rows: Sequence[Leased]) -> None:
        if any(row.route for row in rows):
            await self._place_by_operator([row for row in rows if row.route])
            rows = [row for row in rows if not row.route]
        remote = [row for row in rows if row.transport == "remote"]
        if len(remote) < len(rows):
            self._push((row, LOCAL) for row in rows if row.transport != "remote")
        if not self._router.asks_hooks:
            configured = self._router.configured
            self._push((row, self._way(configured(row.address.domain, row.message.sender), row)) for row in remote)
            return
        for part in _together(remote):
            self._tasks.spawn(self._ask_hooks(part), "queue-route")

    async def _place_by_operator(self, rows: Sequence[Leased]) -> None:
        anew: dict[tuple[QueueId, frozenset[str], str | None], list[Leased]] = {}
        placed: list[tuple[Leased, Destination]] = []
        for row in rows:
            if row.route == RESOLVE:
                anew.setdefault((row.message.id, row.notify, row.orcpt), []).append(row)
                continue
            try:
                placed.append((row, self._way(self._router.read(row.route), row)))
            except ValueError as exc:
                await self._cannot(row, f"451 4.3.5 the next hop given by an operator cannot be used: {exc}")
        self._push(placed)
        if anew:
            self._tasks.spawn(self._resolve_anew(list(anew.values())), "queue-resolve")

    async def _resolve_anew(self, groups: Sequence[list[Leased]]) -> None:
        """Rows whose addresses are looked up again: a message to who they stand for now, in place of theirs."""
        for rows in groups:
            message = rows[0].message
            try:
                loaded = await self._loader.load(message)
                targets = [row.address for row in rows]
                intake = await self._redirector.intake(Batch(message, rows), targets, loaded, "operator", self._clock.now())
            except Unredirectable as exc:
                for row in rows:
                    await self._cannot(row, str(exc))
            except Exception as exc:  # noqa: BLE001  # the others go on
                mistake = not isinstance(exc, TemporaryFailure)
                self._log.warning("route.failed", id=message.id, recipient=str(rows[0].address), reason=str(exc), exc_info=mistake)
                for row in rows:
                    await self._cannot(row, "451 4.3.0 the address cannot be looked up for now", trouble_behind(exc))
            else:
                outcomes = tuple(Outcome(row, "expanded", f"looked up again, as {intake.id}") for row in rows)
                self._concluder.say(outcomes)
                self._settler.add(Settlement(outcomes, (intake,)))

    async def _ask_hooks(self, rows: Sequence[Leased]) -> None:
        placed: list[tuple[Leased, Destination]] = []
        for row in rows:
            try:
                with self._recorder.of("queue", row.message.id, [row.row]):
                    route = await self._router.route(row.message.sender, row.address)
            except Exception as exc:  # noqa: BLE001  # one recipient must not keep the others from their way
                mistake = not isinstance(exc, TemporaryFailure)
                self._log.warning("route.failed", id=row.message.id, recipient=str(row.address), reason=str(exc), exc_info=mistake)
                await self._cannot(row, "451 4.3.0 routing failed for now", trouble_behind(exc))
                continue
            placed.append((row, LOCAL if route.transport == "local" else self._way(route, row)))
        self._push(placed)

    async def _cannot(self, row: Leased, reply: str, trouble: Trouble | None = None) -> None:
        self._settler.add(await self._concluder.conclude(row.message, [Finding(row, reply, trouble=trouble)]))

    def _push(self, placed: Iterable[tuple[Leased, Destination]]) -> None:
        groups: dict[tuple[Destination, str], list[Leased]] = {}
        for row, destination in placed:
            groups.setdefault((destination, row.message.id), []).append(row)
        asked: list[tuple[Destination, Batch]] = []
        for (destination, _), rows in groups.items():
            here = destination.route.transport in ("local", "pipe")
            most = 1 if here and (destination is not LOCAL or self._local.waits) else PER_MESSAGE
            for start in range(0, len(rows), most):
                batch = Batch(rows[0].message, rows[start : start + most])
                if here or self._hooks.delivery_policy is None:
                    self._lanes.push(destination, batch)
                else:
                    asked.append((destination, batch))
        for start in range(0, len(asked), _ROUTING):
            self._tasks.spawn(self._ask_policy(asked[start : start + _ROUTING]), "queue-policy")

    async def _ask_policy(self, batches: Sequence[tuple[Destination, Batch]]) -> None:
        for destination, batch in batches:
            policy = None
            try:
                if (plan := self._hooks.delivery_policy) is not None:
                    envelope = envelope_of(batch.message, batch.recipients)
                    with self._recorder.of("queue", batch.message.id, [row.row for row in batch.recipients]):
                        policy = await plan.first(envelope=envelope, site=str(destination))
            except Exception as exc:  # noqa: BLE001  # one message must not keep the others from their way
                mistake = not isinstance(exc, TemporaryFailure)
                self._log.warning("policy.failed", id=batch.message.id, site=str(destination), reason=str(exc), exc_info=mistake)
                for row in batch.recipients:
                    await self._cannot(row, "451 4.3.0 the delivery policy is not known for now", trouble_behind(exc))
            else:
                way = destination if policy is None or policy.sources is None else destination.leaving_from(policy.sources)
                for part in _parts(batch, policy):
                    self._lanes.push(way, part)


def _together(rows: Sequence[Leased]) -> Iterator[list[Leased]]:
    """Rows whose hooks are asked one after another: those of a message, which may go in one transaction; else a few."""
    part: list[Leased] = []
    for row in rows:
        if len(part) >= PER_MESSAGE or (len(part) >= _ROUTING and row.message.id != part[-1].message.id):
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def _parts(batch: Batch, policy: DeliveryPolicy | None) -> list[Batch]:
    """The batch with what the policy says, in as many transactions as it wants."""
    if policy is None:
        return [batch]
    most = max(policy.recipients or len(batch.recipients), 1)
    rows = batch.recipients
    return [Batch(batch.message, rows[at : at + most], policy) for at in range(0, len(rows), most)]
