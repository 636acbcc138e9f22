"""Arguments and answers of the queue's hooks as JSON: what a program is told and what it may leave out."""
# SPDX-License-Identifier: Apache-2.0

import json

import pytest

from mta.model.address import Address
from mta.model.delivery import DeliveryPolicy, DeliveryStatus
from mta.model.message import Flags, Placement
from mta.model.tls import Tlsa, TlsPolicy, TlsResult
from mta.model.verdict import defer
from mta.pluginhost.answers import problem_of
from mta.pluginhost.crossing import answer_in, answer_out, arguments_out, convert
from mta.pluginhost.specs import SPECS
from mta_hooks import Attempt, DsnReport, Envelope, RecipientReport

A = Address("a", "example.org")
ENVELOPE = Envelope("q", None, (A,), "smtp", 1.0, 2)
STATUS = DeliveryStatus(550, "5.7.1", "greylisted", "mx[192.0.2.1]:25")
REPORT = DsnReport("q-1", "q", "<m@x>", A, 1.0, (RecipientReport(A, "failed", diagnostic="550 no"),))
GIVEN = {
    "envelope": ENVELOPE,
    "attempt": Attempt(3, "example.org", "smtp", "450 busy"),
    "recipient": A,
    "status": STATUS,
    "report": REPORT,
    "placement": Placement("Lists", Flags.SEEN),
}


def answered(hook, said):
    spec = SPECS[hook]
    answer = answer_in(spec, json.loads(json.dumps(said)), GIVEN)
    assert problem_of(answer, spec, GIVEN) == ""
    return answer


def test_an_envelope_and_an_attempt_are_objects():
    told = json.loads(json.dumps(arguments_out({"envelope": ENVELOPE, "attempt": GIVEN["attempt"]})))
    assert told["envelope"] == {
        "id": "q", "sender": None, "recipients": ["a@example.org"], "origin": "smtp", "received_at": 1.0, "attempts": 2, "user": "",
        "hold": "", "due": 0.0, "priority": 0,
    }  # fmt: skip
    assert told["attempt"] == {"number": 3, "site": "example.org", "transport": "smtp", "last_reply": "450 busy"}


def test_a_status_needs_only_what_differs():
    said = {"code": 450, "enhanced": "4.7.1", "delay": 60}
    assert answered("delivery_status", said) == DeliveryStatus(450, "4.7.1", "greylisted", "mx[192.0.2.1]:25", 60)


def test_a_report_needs_only_what_differs():
    answer = answered("dsn_compose", {"text": "call us"})
    assert (answer.text, answer.recipients) == ("call us", REPORT.recipients)
    assert answered("dsn_compose", {"recipients": []}).recipients == ()


def test_a_placement_needs_only_what_differs():
    assert answered("mailbox_deliver", {"folder": "Work"}) == Placement("Work", Flags.SEEN)


@pytest.mark.parametrize(
    ("hook", "said", "answer"),
    [
        ("delivery_policy", {"concurrency": 2, "retry": [60, 600]}, DeliveryPolicy(2, (60.0, 600.0))),
        ("delivery_attempt", {"action": "defer", "text": "later", "delay": 30}, defer("later", delay=30)),
        ("mx_lookup", ["mx.example.org"], ["mx.example.org"]),
        ("tls_policy", "encrypt", "encrypt"),
        (
            "tls_policy",
            {"level": "dane", "tlsa": [{"usage": 3, "selector": 1, "matching": 0, "data": "q6ur"}], "source": "tlsa"},
            TlsPolicy("dane", (Tlsa(3, 1, 0, b"\xab\xab\xab"),), source="tlsa"),
        ),
    ],
)
def test_answers(hook, said, answer):
    assert answered(hook, said) == answer
    assert answered(hook, json.loads(json.dumps(answer_out(answer)))) == answer


def test_what_tls_came_to_crosses_both_ways():
    policy = TlsPolicy("dane", (Tlsa(3, 1, 1, b"\xab"),), source="tlsa")
    result = TlsResult("dest.test", "mx.dest.test", "192.0.2.1", "", policy, "certificate-expired")
    crossed = json.loads(json.dumps(arguments_out({"result": result})))
    assert convert(crossed["result"], TlsResult) == result
