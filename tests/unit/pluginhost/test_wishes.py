"""Durable notifications narrowed: by hook, by mailbox event, once the config is read."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.pluginhost.check import PluginRefused
from mta.pluginhost.durable import payload_of
from mta.pluginhost.plan import Plan
from mta.testing.plugins import host_with, plugin_of
from mta_hooks import MailboxEvent, hookimpl


def listener(name, chosen, heard):
    @hookimpl
    def register(registry):
        if chosen is not None:
            registry.notifications(lambda _config: chosen)

    @hookimpl
    def delivered(record):
        heard.append((name, "delivered"))

    @hookimpl
    def mailbox_event(event):
        heard.append((name, event.event))

    return plugin_of(register, delivered, mailbox_event, name=name)


@pytest.mark.parametrize(
    ("chosen", "durable", "events"),
    [
        ([None], {"delivered", "mailbox_event"}, None),
        ([["delivered"]], {"delivered"}, None),
        ([["bounced"]], set(), None),
        ([[]], set(), None),
        ([["MessageNew"]], {"mailbox_event"}, {"MessageNew"}),
        ([["MessageNew"], ["FlagsSet", "delivered"]], {"delivered", "mailbox_event"}, {"MessageNew", "FlagsSet"}),
        ([["MessageNew"], ["mailbox_event"]], {"mailbox_event"}, None),
        ([["MessageNew"], None], {"delivered", "mailbox_event"}, None),
    ],
)
def test_only_what_somebody_wants_is_durable(chosen, durable, events) -> None:
    host = host_with(*[listener(f"p{n}", one, []) for n, one in enumerate(chosen)])
    assert (host.durable, host.mailbox_events) == (durable, events)


def test_each_hears_what_it_wants() -> None:
    heard: list[tuple[str, str]] = []
    host = host_with(listener("new", ["MessageNew"], heard), listener("all", None, heard), listener("none", ["delivered"], heard))
    for event in ("MessageNew", "FlagsSet"):
        asyncio.run(host.call_durable("mailbox_event", payload_of(MailboxEvent(event, "a@b", "INBOX", 1.0))))
    assert heard == [("new", "MessageNew"), ("all", "MessageNew"), ("all", "FlagsSet")]
    assert isinstance(host.delivered, Plan)
    assert [step.plugin.name for step in host.delivered.steps] == ["all", "none"]


@pytest.mark.parametrize("chosen", ["delivered", ["deliver"], ["smtp_rcpt"], [1], ["a b"]])
def test_what_is_no_notification_is_refused(chosen) -> None:
    with pytest.raises(PluginRefused, match=r"registry\.notifications"):
        host_with(listener("p", chosen, []))


@pytest.mark.parametrize("chosen", [(["delivered"],), (list, list)])
def test_a_choice_is_a_function_and_made_once(chosen) -> None:
    @hookimpl
    def register(registry):
        for one in chosen:
            registry.notifications(one)

    with pytest.raises(PluginRefused, match=r"registry\.notifications"):
        host_with(plugin_of(register, name="p"))
