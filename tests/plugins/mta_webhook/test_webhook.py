"""Web hooks through the durable hooks: over a fake HTTP service, and to a real one on loopback that verifies as the docs say."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import mta_webhook
from mta.model.delivery import DeliveryRecord
from mta.model.errors import TemporaryFailure
from mta.model.ids import QueueId
from mta.pluginhost.durable import payload_of
from mta.pluginhost.host import HookHost
from mta.pluginhost.http import HttpClient
from mta.testing.plugins import FakeClock, FakeHttp, HttpRequest, host_with
from mta_hooks import MailboxEvent
from mta_hooks.services import HttpReply
from mta_webhook.config import WebhookConfig
from mta_webhook.signature import key_of, sign

DOCS = Path(__file__).resolve().parents[3] / "docs/operators/webhook.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RECORD = DeliveryRecord(
    QueueId("q1"),
    "<m@x>",
    "smtp",
    "",
    "bob@example.org",
    None,
    "delivered",
    "ok \udc80ü",
    "mx[192.0.2.1]:25",
    1,
    1.5,
    2.25,
    10,
    notes={"a": [1]},
)
EVENT = MailboxEvent("MessageNew", "bob@example.org", "INBOX", 3.0, (7, 8), ("\\Seen",))


def host(*replies: Any, clock: FakeClock | None = None, **config: Any) -> HookHost:
    settings = {"url": "https://w.test/hook", "secret": SECRET, **config}
    return host_with(mta_webhook, config=settings, http=FakeHttp(*replies), clock=clock or FakeClock())


def tell(made: HookHost, hook: str, record: DeliveryRecord | MailboxEvent) -> None:
    """As the outbox does: through JSON and back."""
    for error in asyncio.run(made.call_durable(hook, json.loads(json.dumps(payload_of(record))))).values():
        raise TemporaryFailure(error)


def requests(made: HookHost) -> list[HttpRequest]:
    return made.services.http.requests  # type: ignore[attr-defined, no-any-return]


def documented_verify() -> Any:
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    return names


def test_the_vector_of_standard_webhooks() -> None:
    headers = sign((key_of(SECRET),), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("hook", ["delivered", "deferred", "bounced"])
def test_a_record_is_told_whole(hook: str) -> None:
    made = host()
    tell(made, hook, RECORD)
    (request,) = requests(made)
    assert (request.method, request.url, request.headers["Content-Type"]) == ("POST", "https://w.test/hook", "application/json")
    body = json.loads(request.data)
    assert (body["type"], body["timestamp"]) == (hook, "1970-01-01T00:00:02.250Z")
    assert body["data"] == payload_of(RECORD)


def test_a_mailbox_event_is_told_whole() -> None:
    made = host(events=["mailbox_event"])
    tell(made, "mailbox_event", EVENT)
    body = json.loads(requests(made)[0].data)
    assert body["type"] == "mailbox_event"
    assert body["data"] == payload_of(EVENT)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (None, ["delivered", "deferred", "bounced"]),
        (["bounced"], ["bounced"]),
        (["mailbox_event"], ["MessageNew", "FlagsSet"]),
        (["delivered", "FlagsSet"], ["delivered", "FlagsSet"]),
    ],
)
def test_only_what_the_config_names_is_told(events: list[str] | None, told: list[str]) -> None:
    given: dict[str, Any] = {} if events is None else {"events": events}
    made = host(**given)
    for hook in ("delivered", "deferred", "bounced"):
        tell(made, hook, RECORD)
    for event in ("MessageNew", "FlagsSet"):
        tell(made, "mailbox_event", replace(EVENT, event=event))
    bodies = [json.loads(r.data) for r in requests(made)]
    assert [b["data"].get("event", b["type"]) for b in bodies] == told


def test_the_id_is_that_of_what_happened() -> None:
    clock = FakeClock()
    made = host(500, 200, clock=clock)
    with pytest.raises(TemporaryFailure):
        tell(made, "delivered", RECORD)
    clock.advance(90)
    tell(made, "delivered", RECORD)
    tell(made, "bounced", RECORD)
    tell(made, "delivered", replace(RECORD, attempts=2))
    first, again, *others = requests(made)
    assert (first.headers["webhook-id"], first.data) == (again.headers["webhook-id"], again.data)
    assert int(again.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 90
    assert first.headers["webhook-signature"] != again.headers["webhook-signature"]
    assert len({r.headers["webhook-id"] for r in (first, *others)}) == 3
    assert re.fullmatch(r"msg_[0-9a-f]{32}", first.headers["webhook-id"])


@pytest.mark.parametrize("reply", [199, 300, 301, 400, 404, 410, 500, 503, OSError("refused"), TimeoutError()])
def test_whatever_is_no_success_is_tried_again(reply: Any) -> None:
    made = host(reply)
    for _ in range(8):
        with pytest.raises(TemporaryFailure):
            tell(made, "delivered", RECORD)
    assert len(requests(made)) == 8  # not held against the plugin


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_done(status: int) -> None:
    made = host(HttpReply(status, {}, b"thanks"))
    tell(made, "delivered", RECORD)
    assert len(requests(made)) == 1


def test_the_secret_stands_in_no_text() -> None:
    config = WebhookConfig.model_validate({"url": "https://w.test/", "secret": SECRET})
    assert SECRET not in repr(config) + str(config) + config.model_dump_json()


def test_config_is_checked() -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"secret": "short"}, {"secret": "whsec_!!!notbase64!!"}, {"secret": "whsec_c2hvcnRrZXk="}, {"url": "ftp://x"}, {"url": "https://u:p@x/"},
        {"events": []}, {"events": ["deliverd"]}, {"events": ["delivered", "a b"]}, {"deadline": 0}, {"old_secret": "x"}, {"secret": None},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            WebhookConfig.model_validate({"url": "https://w.test/", "secret": SECRET, **wrong})


# ---- to a receiver on loopback that verifies as the docs say


class Receiver:
    """Takes what ``statuses`` say in turn; keeps (headers, body)."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.seen: list[tuple[dict[str, str], bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        self.seen.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % self.statuses.pop(0))
        await writer.drain()
        writer.close()


def converse(receiver: Receiver, attempts: int, **config: Any) -> list[str]:
    """What became of each attempt to tell one record."""

    async def main() -> list[str]:
        server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
        settings = {"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", "secret": SECRET, **config}
        made = host_with(mta_webhook, config=settings, http=HttpClient())
        told = []
        for _ in range(attempts):
            try:
                failed = await made.call_durable("delivered", payload_of(RECORD))
                told.append("; ".join(failed.values()) or "done")
            except TemporaryFailure as exc:
                told.append(str(exc))
        server.close()
        return told

    return asyncio.run(main())


def test_a_receiver_verifies_as_documented() -> None:
    receiver, names = Receiver(503, 204), documented_verify()
    first, second = converse(receiver, 2)
    assert "answered 503" in first
    assert second == "done"
    names["time"] = type("Time", (), {"time": staticmethod(lambda: FakeClock().now() + 200)})
    verify = names["verify"]
    assert len(receiver.seen) == 2
    for headers, body in receiver.seen:
        assert verify(SECRET, headers, body)
        assert not verify(SECRET, headers, body + b" ")
        assert not verify("another secret of ours", headers, body)
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            assert not verify(SECRET, changed(headers, name), body)
    names["time"] = type("Time", (), {"time": staticmethod(lambda: FakeClock().now() + 301)})
    assert not verify(SECRET, *receiver.seen[0])


def changed(headers: Mapping[str, str], name: str) -> dict[str, str]:
    value = headers[name]
    return {**headers, name: value[:-1] + ("1" if value[-1] != "1" else "2")}


def test_secrets_change_without_a_gap() -> None:
    receiver, names = Receiver(200), documented_verify()
    assert converse(receiver, 1, secret="a plain new secret", old_secret=SECRET) == ["done"]
    names["time"] = type("Time", (), {"time": staticmethod(FakeClock().now)})
    for secret in (SECRET, "a plain new secret"):
        assert names["verify"](secret, *receiver.seen[0])
