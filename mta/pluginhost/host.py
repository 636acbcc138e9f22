"""The host: plugins by name, plans by hook, health. What the engine holds as ``hooks``.

pluggy keeps the registrations; the plans are compiled from them and called by ``mta.pluginhost.call``. A change of the
set of plugins compiles new plans first and then puts them in place, so that a call sees the old set or the new one.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pluggy

from mta.model.address import Address
from mta.model.errors import ConfigError, TemporaryFailure
from mta.net.tasks import Tasks
from mta.pluginhost import environment
from mta.pluginhost.call import Dispatcher
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.context import PluginContext, Services
from mta.pluginhost.durable import arguments_of
from mta.pluginhost.executables import PIPES
from mta.pluginhost.health import Failed, PluginHealth, health_of
from mta.pluginhost.jobs import jobs_of, run_job
from mta.pluginhost.launcher import Launcher
from mta.pluginhost.load import Find, adopt, find, guarded, load_package
from mta.pluginhost.occurrences import Occurrences
from mta.pluginhost.offers import Offering
from mta.pluginhost.order import arrange
from mta.pluginhost.orders import Order, read_orders
from mta.pluginhost.owned import migrate
from mta.pluginhost.plan import Decision, Plan
from mta.pluginhost.plugin import HostOptions, Kind, Plugin, make_plugin
from mta.pluginhost.routes import PluginRoute, metrics_of, routes_of
from mta.pluginhost.running import ServiceRunner
from mta.pluginhost.section import Where
from mta.pluginhost.specs import SPECS, with_ctx
from mta.pluginhost.step import Step
from mta.pluginhost.wishes import EVENTS, events_of, hears, wishes_of
from mta_hooks.markers import PROJECT
from mta_hooks.metrics import Metric

__all__ = ["Decision", "HookHost", "HostOptions", "Plan", "Services"]

_DROP_INS = 1_000_000
_EXECUTABLES = 1_500_000
_BUILT_INS = 2_000_000


class HookHost:
    """One attribute for each hook: its Plan, or None when nobody implements it, so that an unused hook costs one test.

    durable  names of the durable hooks that somebody implements and wants to hear; ``mailbox_events``: which of these, None: all
    strict   an answer that a hook may not give raises ContractError (for tests)
    """

    startup: Plan | None = None
    config_changed: Plan | None = None
    health_check: Plan | None = None
    shutdown: Plan | None = None
    smtp_connect: Plan | None = None
    smtp_ehlo: Plan | None = None
    smtp_tls: Plan | None = None
    tls_certificate: Plan | None = None
    smtp_capabilities: Plan | None = None
    auth_policy: Plan | None = None
    auth_result: Plan | None = None
    session_login: Plan | None = None
    auth_verify: Plan | None = None
    credentials_lookup: Plan | None = None
    smtp_mail: Plan | None = None
    smtp_rcpt: Plan | None = None
    rcpt_policy_key: Plan | None = None
    smtp_data: Plan | None = None
    message_headers: Plan | None = None
    message_sink: Plan | None = None
    mime_part: Plan | None = None
    smtp_reply: Plan | None = None
    smtp_command: Plan | None = None
    imap_command: Plan | None = None
    verdict_override: Plan | None = None
    smtp_reset: Plan | None = None
    smtp_disconnect: Plan | None = None
    message_authenticate: Plan | None = None
    message_check: Plan | None = None
    message_verdict: Plan | None = None
    message_modify: Plan | None = None
    message_sign: Plan | None = None
    address_rewrite: Plan | None = None
    queue_enqueue: Plan | None = None
    queue_admin: Plan | None = None
    domain_lookup: Plan | None = None
    recipient_lookup: Plan | None = None
    alias_expand: Plan | None = None
    user_lookup: Plan | None = None
    user_change: Plan | None = None
    route: Plan | None = None
    delivery_policy: Plan | None = None
    delivery_attempt: Plan | None = None
    mx_lookup: Plan | None = None
    tls_policy: Plan | None = None
    tls_result: Plan | None = None
    delivery_modify: Plan | None = None
    delivery_status: Plan | None = None
    dsn_compose: Plan | None = None
    message_accepted: Plan | None = None
    report_received: Plan | None = None
    deliver: Plan | None = None
    mailbox_deliver: Plan | None = None
    message_read: Plan | None = None
    mailbox_append: Plan | None = None
    mailbox_store: Plan | None = None
    mailbox_expunge: Plan | None = None
    delivered: Plan | None = None
    deferred: Plan | None = None
    bounced: Plan | None = None
    mailbox_event: Plan | None = None
    log_event: Plan | None = None

    def __init__(self, services: Services, *, options: HostOptions | None = None, strict: bool = False) -> None:
        self.services = services
        self.launcher = services.launcher = services.launcher or Launcher(services.log)
        self.options = options or HostOptions()
        self.orders: dict[str, Order] = {}
        self.pipes: dict[str, Plan] = {}
        self.durable: frozenset[str] = frozenset()
        self.occurrences = Occurrences(services)
        self.mailbox_events: frozenset[str] | None = None
        self.failed: dict[str, Failed] = {}
        self.plugins: dict[str, Plugin] = {}
        self.offering = Offering()
        self.routes: tuple[PluginRoute, ...] = ()
        self._registrations = pluggy.PluginManager(PROJECT)
        self._registrations.add_hookspecs(with_ctx())
        self._dispatcher = Dispatcher(services.log, self.options, self._moved, strict=strict)
        self._running = ServiceRunner(self._dispatcher, services.clock, services.log)

    # ---- the set of plugins

    def load(
        self,
        plugins: Mapping[str, Mapping[str, Any] | None],
        where: Where = str,
        search: Find = find,
        order: Mapping[str, Any] | None = None,
    ) -> None:
        """Load what the config lists, in its order.

        where   "plugins.dkim.selector" -> "file:line", for errors
        order   the administrator's, by hook; holds for what is loaded later too
        Raises  ConfigError: a section is wrong, a required plugin cannot run, the order has a circle. An optional plugin that
                cannot run is logged as ``plugin.failed``, kept in ``failed``, and left out.
        """
        self.orders = read_orders(order or {}, where)
        if problem := environment.enter():
            self.services.log.error("plugin.environment", reason=problem)
        for place, (name, section) in enumerate(plugins.items()):
            key = f"plugins.{name}"
            try:
                plugin = load_package(name, section, place, self.services, self.options, where, search)
                self._refuse_rival(plugin)
                self.change(add=[plugin])
            except ConfigError as exc:
                raise exc if exc.where != "plugins" else ConfigError(where(key), exc.key, exc.problem, exc.fix) from None
            except PluginRefused as exc:
                if (section or {}).get("required") is True:
                    problem = f"{exc.problem} ({exc.file}:{exc.line})" if exc.file else exc.problem
                    raise ConfigError(where(key), key, problem, "mend or remove the plugin, or set required: false.") from exc
                self.refuse(name, "package", exc)

    def _refuse_rival(self, plugin: Plugin) -> None:
        for kind, scheme in plugin.offers.backends:
            if (rival := self._provider(kind, scheme)) is not None:
                key = f"plugins.{plugin.name}"
                raise ConfigError("plugins", key, f"brings the {kind} backend {scheme}, and so does {rival.name}", "remove one.")

    def add_builtin(self, name: str, object: Any) -> None:
        """Register a part of the engine that implements hooks; it stands last."""
        plugin = self.make(name, object, "built-in", _BUILT_INS)
        plugin.required = True
        self.change(add=[plugin])

    def make(self, name: str, object: Any, kind: Kind, place: int | None = None, config: Any = None) -> Plugin:
        """A plugin out of an object at hand, checked, not yet in the set. Raises PluginRefused."""
        if place is None:
            place = _EXECUTABLES if kind == "executable" else _DROP_INS
        plugin: Plugin = guarded(make_plugin, name, object, kind, place, self.options)
        adopt(plugin)
        plugin.context = PluginContext(name, config, self.services, plugin.pool, plugin.offers.schemas)
        return plugin

    def change(self, *, add: Sequence[Plugin] = (), remove: Sequence[Plugin] = ()) -> None:
        """Change the set and swap the plans. Raises ConfigError for a circle, PluginRefused for a name taken; then nothing has changed."""
        before = dict(self.plugins)
        for plugin in remove:
            self._registrations.unregister(name=plugin.name)
            del self.plugins[plugin.name]
        try:
            for plugin in add:
                if plugin.name in self.plugins:
                    raise PluginRefused(f"the name {plugin.name} is taken by a {self.plugins[plugin.name].kind}")
                plugin.wishes = guarded(wishes_of, plugin.offers.choose, plugin.context.config if plugin.context else None)
                self._registrations.register(plugin.object, plugin.name)
                self._registrations.check_pending()
                self.plugins[plugin.name] = plugin
            plans = {hook: self._compile(hook) for hook, spec in SPECS.items() if spec.mode != "load"}
            pipes = self._pipes()
            offering = Offering.of(self.plugins, self._dispatcher)
            routes = guarded(routes_of, self.plugins, self._dispatcher)
        except (pluggy.PluginValidationError, ValueError) as exc:
            self._restore(before, add)
            raise PluginRefused(str(exc)) from exc
        except (ConfigError, PluginRefused):
            self._restore(before, add)
            raise
        for old in self._plans():
            old.settle()
        for hook, plan in plans.items():
            setattr(self, hook, plan)
        self.pipes = pipes
        self.offering = offering
        self.routes = routes
        self._dispatcher.override = plans["verdict_override"]
        self.durable = frozenset(h for h, plan in plans.items() if plan is not None and plan.spec.mode == "durable")
        self.mailbox_events = None if (told := plans[EVENTS]) is None else events_of([s.plugin.wishes for s in told.steps])
        for plugin in remove:
            plugin.pool.close()
            if plugin.process is not None:
                plugin.process.retire()
        for plugin in add:
            self.failed.pop(plugin.name, None)

    def refuse(self, name: str, kind: Kind, exc: PluginRefused) -> None:
        """Note that a plugin does not run."""
        self.failed[name] = Failed(name, kind, exc.problem, exc.file, exc.line)
        self.services.log.error("plugin.failed", plugin=name, file=exc.file, line=exc.line, reason=exc.problem)

    def _restore(self, before: Mapping[str, Plugin], refused: Sequence[Plugin]) -> None:
        for plugin in refused:
            if plugin.process is not None:
                plugin.process.close()
        for name in list(self.plugins):
            self._registrations.unregister(name=name)
        for name, _ in self._registrations.list_name_plugin():
            self._registrations.unregister(name=name)
        self.plugins = dict(before)
        for name, plugin in before.items():
            self._registrations.register(plugin.object, name)

    def _compile(self, hook: str) -> Plan | None:
        spec = SPECS[hook]
        caller: pluggy.HookCaller = getattr(self._registrations.hook, hook)
        steps = []
        for found in caller.get_hookimpls():
            plugin = self.plugins[found.plugin_name]
            if plugin.when is not None:
                plugin.when.refuse_for(spec)
            if (spec.mode == "durable" and not hears(plugin.wishes, hook)) or plugin.name.startswith(PIPES):
                continue
            steps.append(Step(spec, plugin, found.function))
        return Plan(spec, arrange(hook, steps, self.orders.get(hook)), self._dispatcher) if steps else None

    def _pipes(self) -> dict[str, Plan]:
        """Programs that aliases name: a plan for each, so that none is asked for another's mail."""
        spec = SPECS["deliver"]
        steps = {n: Step(spec, p, p.object.deliver) for n, p in self.plugins.items() if n.startswith(PIPES)}
        return {name.removeprefix(PIPES): Plan(spec, arrange("deliver", [step]), self._dispatcher) for name, step in steps.items()}

    # ---- what plugins bring

    def backend(self, kind: str, scheme: str) -> Callable[..., Any]:
        """The factory of ``registry.backend(kind, scheme, factory)``. Raises ConfigError naming what there is and what failed."""
        plugin = self._provider(kind, scheme)
        if plugin is not None:
            return plugin.offers.backends[kind, scheme]
        offered = sorted(s for p in self.plugins.values() for k, s in p.offers.backends if k == kind)
        broken = "".join(f"; plugin {f.name} failed: {f.reason}" for f in self.failed.values())
        problem = f"no plugin offers the {kind} backend {scheme}{broken}"
        raise ConfigError("plugins", kind, problem, f"one of: {', '.join(offered) or 'none is loaded'}.")

    def brings(self, kind: str, scheme: str) -> bool:
        return self._provider(kind, scheme) is not None

    def _provider(self, kind: str, scheme: str) -> Plugin | None:
        return next((p for p in self.plugins.values() if (kind, scheme) in p.offers.backends), None)

    # ---- calls

    def deliver_wants(self, recipient: Address) -> bool:
        """False: no ``deliver`` hook is meant for this recipient, who can have the mail in the accepting transaction."""
        if self.deliver is None:
            return False
        text = str(recipient)
        return any(step.when is None or step.when.wants(text) for step in self.deliver.steps)

    def pipe(self, name: str) -> Plan | None:
        """The program that an alias names as ``|name``."""
        return self.pipes.get(name)

    async def call_durable(self, hook: str, payload: Mapping[str, Any], plugin: str = "") -> dict[str, str]:
        """Call a durable hook with its record rebuilt from the outbox (at least once); ``plugin``: only this one's.

        Returns plugin -> error of those who failed. A hook that nobody implements any more is done. Raises TemporaryFailure for a
        record that cannot be rebuilt.
        """
        plan: Plan | None = getattr(self, hook) if hook in SPECS else None
        if plan is None:
            return {}
        try:
            arguments = arguments_of(plan.spec.arguments, payload)
        except TypeError as exc:
            raise TemporaryFailure(f"{hook}: {exc}") from exc
        return await plan.tell(plugin, arguments, payload.get("event", "") if hook == EVENTS else "")

    # ---- life

    def start(self, tasks: Tasks, *, jobs: bool = True) -> None:
        """In the running loop of a worker: watchdogs, and the jobs that every worker runs."""
        self._dispatcher.watchdog.start()
        tasks.spawn(self._dispatcher.watchdog.run(), "plugin-watchdog")
        self.occurrences.tasks = tasks
        if jobs:
            self.start_jobs(tasks, single=False)

    def start_jobs(self, tasks: Tasks, *, single: bool) -> None:
        """``single``: those that one worker runs for all; called by the worker that holds the dispatch lock."""
        for plugin in self.plugins.values():
            for step, every in jobs_of(plugin, single=single):
                tasks.spawn(run_job(step, every, self._dispatcher, self.services.clock), f"job-{plugin.name}-{step.spec.name}")

    async def migrate(self, where: Where = str) -> None:
        """Bring the plugins' tables to their versions; before anything of them is called. One that cannot run with what the database
        has is left out like one that does not load. Raises ConfigError when it is required, TemporaryFailure."""
        for plugin in list(self.plugins.values()):
            try:
                await migrate(plugin, self.services.tables)
            except PluginRefused as exc:
                key = f"plugins.{plugin.name}"
                if plugin.required:
                    raise ConfigError(where(key), key, exc.problem, "mend or remove the plugin, or set required: false.") from exc
                self.change(remove=[plugin])
                self.refuse(plugin.name, plugin.kind, exc)

    def start_services(self, *, single: bool) -> None:
        """After ``startup``; ``single``: by the worker that holds the dispatch lock."""
        for plugin in self.plugins.values():
            self._running.start(plugin, single=single)

    async def stop_services(self, grace: float) -> None:
        await self._running.stop(grace)

    def stop(self) -> None:
        self._dispatcher.watchdog.stop()
        for plugin in self.plugins.values():
            plugin.pool.close()
            if plugin.process is not None:
                plugin.process.close()
        self.launcher.close()

    # ---- what is there

    def calling(self) -> str:
        """The plugin whose code runs now, "" for none."""
        step = self._dispatcher.pulse.step
        return step.plugin.name if step is not None else ""

    async def metrics(self) -> list[Metric]:
        """What the plugins count, named after them."""
        return await metrics_of(self.plugins, self._dispatcher)

    def order(self, hook: str) -> list[tuple[str, str]]:
        """(plugin, reason of its place) in the order of calls. Raises KeyError for a hook that does not exist."""
        spec = SPECS[hook]
        plan: Plan | None = getattr(self, spec.name, None)
        return [] if plan is None else [(step.plugin.name, step.reason) for step in plan.steps]

    def health(self) -> list[PluginHealth]:
        """All that run, in config order, then those that failed."""
        steps: dict[str, dict[str, list[Step]]] = {name: {} for name in self.plugins}
        for plan in self._plans():
            plan.settle()
            for step in plan.steps:
                steps[step.plugin.name].setdefault(plan.spec.name, []).append(step)
        for offered in self.offering.calls():
            steps[offered.plugin].setdefault(offered.step.spec.name, []).append(offered.step)
        running = sorted(self.plugins.values(), key=lambda p: (p.place, p.name))
        return [health_of(p, steps[p.name]) for p in running] + [f.health() for f in self.failed.values()]

    def _plans(self) -> list[Plan]:
        return [*(plan for hook in SPECS if (plan := getattr(self, hook, None)) is not None), *self.pipes.values()]

    def _moved(self, plugin: Plugin) -> None:
        for plan in self._plans():
            for step in plan.steps:
                if step.plugin is plugin:
                    step.move_to_threads()
        for step in (*(route.step for route in self.routes if route.step.plugin is plugin), *plugin.metric_steps):
            step.move_to_threads()
