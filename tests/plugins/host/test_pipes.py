"""Programs that aliases name as ``|name``: only those of hooks_dir/pipe.d, only by an alias, and for nobody else's mail."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.directory.resolve import Resolver
from mta.local.transport import LocalTransport
from mta.model.address import Address
from mta.model.delivery import Delivered, Failed, Leased, QueuedMessage
from mta.model.directory import AliasTarget, HookTarget
from mta.model.ids import BlobId, QueueId
from mta.model.message import Recipient
from mta.model.pipe import pipe_address, program_of, read_pipe, shown
from mta.pipeline.recipients import dispose
from mta.pipeline.transaction import Accepted
from mta.testing.hooksdir import HooksDir
from mta.testing.plugins import FakeMessage, RecordingLog, host_with, plugin_of
from mta_hooks import AuthResult, hookimpl

ALIAS = Address("support", "example.test")
MESSAGE = QueuedMessage(QueueId("q"), "smtp", None, BlobId(1), 9, 0, 1.0, None, None, False, False, "<m@x>", "")


@pytest.fixture
def hooks():
    with HooksDir() as made:
        yield made


def leased(address, user=None):
    return Leased(1, MESSAGE, address, "local", "local", user, None, frozenset(), 0, 0.0, "", False)


def transport(hooks, address):
    log = RecordingLog()

    async def load():
        return FakeMessage()

    local = LocalTransport(hooks.host, None, log)
    return hooks.run(lambda: local.deliver(leased(address), load)), log


def resolve(*targets, at=ALIAS):
    @hookimpl
    def domain_lookup(domain):
        from mta.model.directory import Domain

        return Domain(domain) if domain == "example.test" else None

    @hookimpl
    def alias_expand(address):
        return AliasTarget(targets) if address == ALIAS else None

    log = RecordingLog()
    host = host_with(plugin_of(domain_lookup, alias_expand, name="names"))
    return asyncio.run(Resolver(host, frozenset(), log).resolve(at)), log


def test_an_alias_leads_to_the_program_and_to_others() -> None:
    found, _ = resolve("|ticket", "far@example.net")
    assert (found.local, found.remote) == ((HookTarget(pipe_address("ticket", ALIAS)),), (Address("far", "example.net"),))
    [row, _] = dispose([Accepted(Recipient(ALIAS, ALIAS), found)]).queued.values()
    assert (read_pipe(row.address), row.user, row.transport) == (("ticket", ALIAS), None, "local")
    assert (str(row.orcpt), shown(row.address)) == ("rfc822;support@example.test", ALIAS)


@pytest.mark.parametrize("target", ["|ticket --all", "|/bin/sh", "|", "|../x", "|a b", "|-x"])
def test_never_a_command_line(target) -> None:
    found, log = resolve(target)
    assert found.refusal is not None
    assert log.named("alias.target_malformed")
    with pytest.raises(ValueError, match="without folder, arguments"):
        program_of(target)


def test_a_peer_cannot_name_a_program(hooks) -> None:
    found, _ = resolve("|ticket", at=Address("|ticket", "example.test"))
    assert found.refusal is not None
    hooks.save("pipe.d/ticket", "#!/bin/sh\n")
    for address in (Address("|ticket", "example.test"), Address("|ticket support@example.test", "example.test")):
        assert read_pipe(address) is None
        result, _ = transport(hooks, address)
        assert result.reply == "550 5.1.1 no such user here"
    with pytest.raises(ValueError, match="local@domain"):
        Address.parse('"|ticket support@example.test"')


def test_the_program_gets_the_alias_and_nobody_else_is_asked(hooks) -> None:
    hooks.save("deliver.d/50-all", "#!/bin/sh\necho wrong; exit 100\n")
    hooks.save("pipe.d/ticket", '#!/bin/sh\necho "$RECIPIENT $MTA_HOOK $1"\n')
    hooks.save("pipe.d/other", "#!/bin/sh\necho '5.7.1 not today'; exit 77\n")
    assert transport(hooks, pipe_address("ticket", ALIAS))[0].reply == "250 2.0.0 support@example.test deliver deliver"
    assert transport(hooks, pipe_address("other", ALIAS))[0].reply == "554 5.7.1 not today"
    assert [name for name, _ in hooks.host.order("deliver")] == ["deliver.d/50-all"]
    assert {h.hook: h.calls for h in hooks.health("pipe.d/ticket").hooks} == {"deliver": 1}


def test_one_that_is_not_there_defers_and_is_logged(hooks) -> None:
    result, log = transport(hooks, pipe_address("gone", ALIAS))
    assert result.reply == "451 4.3.5 the program for this address is away"
    assert log.named("local.no_program")[0]["program"] == "gone"
    hooks.save("pipe.d/gone", "#!/bin/sh\n")
    assert transport(hooks, pipe_address("gone", ALIAS))[0].reply.startswith("250 ")
    hooks.remove("pipe.d/gone")
    assert hooks.host.pipe("gone") is None


def test_one_that_fails_is_a_trouble_of_its_own(hooks) -> None:
    hooks.save("pipe.d/ticket", "#!/bin/sh\nexit 3\n")
    result, _ = transport(hooks, pipe_address("ticket", ALIAS))
    assert (result.reply, result.trouble.plugin, result.trouble.times) == (
        "451 4.3.0 local delivery failed for now",
        "pipe.d/ticket",
        1,
    )


# ---- what else programs are told, and may say


def call(hooks, hook, mode, **arguments):
    return hooks.run(lambda: getattr(getattr(hooks.host, hook), mode)(**arguments))


def test_several_results_of_an_authentication(hooks) -> None:
    hooks.save(
        "message_authenticate.d/10-x",
        """#!/bin/sh
        echo '[{"method": "spf", "result": "pass", "properties": [["smtp.mailfrom", "a@b"]]}, {"method": "x", "result": "fail"}]'
        """,
    )
    answers = call(hooks, "message_authenticate", "all", session=None, message=FakeMessage())
    assert [answer for _, answer in answers] == [
        AuthResult("spf", "pass", properties=(("smtp.mailfrom", "a@b"),)),
        AuthResult("x", "fail"),
    ]
    hooks.save("message_authenticate.d/10-x", "#!/bin/sh\necho '[{\"method\": 3}]'\n")
    assert call(hooks, "message_authenticate", "all", session=None, message=FakeMessage()) == []
    assert "answered" in hooks.health("message_authenticate.d/10-x").hooks[0].last_error


def test_a_list_where_one_answer_is_wanted_is_an_error(hooks) -> None:
    hooks.save("deliver.d/10-x", '#!/bin/sh\necho \'[{"action": "failed", "text": "x"}]\'\n')
    answer = call(hooks, "deliver", "first", recipient=ALIAS, sender=None, message=FakeMessage())
    assert answer == Delivered('[{"action": "failed", "text": "x"}]')
    assert not isinstance(answer, Failed)


def test_scores_and_results_in_the_environment(hooks) -> None:
    hooks.save("message_verdict.d/10-x", '#!/bin/sh\necho "5.7.1 $MTA_SPAM_SCORE"\n')
    verdict = call(hooks, "message_verdict", "first", message=FakeMessage(), scores={"a": 2.5, "b": 1}, recipients=())
    assert verdict.text == "3.5"
    hooks.save("deliver.d/10-x", '#!/bin/sh\necho "$MTA_AUTH_RESULTS/$MTA_SPAM_SCORE"\n')
    octets = (
        b"Authentication-Results: else.example; spf=pass\r\n"
        b"Authentication-Results: mx.example.test;\r\n\tspf=fail (no) smtp.mailfrom=a@b;\r\n\tdkim=pass header.d=c\r\n\r\nx\r\n"
    )
    answer = call(hooks, "deliver", "first", recipient=ALIAS, sender=None, message=FakeMessage(octets))
    assert answer == Delivered("spf=fail,dkim=pass/")
