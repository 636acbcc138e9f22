"""Lines and values from outside: whatever octets or JSON come, a value that the hook takes, or an error with a name."""

import collections.abc
import dataclasses
import enum
import json
import types
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.address import Address
from mta.model.errors import TemporaryFailure
from mta.model.message import Flags, Placement, Recipient
from mta.model.verdict import Verdict
from mta.pluginhost.answers import problem_of
from mta.pluginhost.call import Outside
from mta.pluginhost.crossing import (
    VIEWS,
    BadAnswer,
    address_of,
    answer_in,
    answer_out,
    arguments_out,
    convert,
    notes_in,
    plain,
    uncrossable,
)
from mta.pluginhost.exits import Finished, answer_of
from mta.pluginhost.jsonlines import LONGEST_LINE, Lines, Rubbish, decode_line, encode_line
from mta.pluginhost.specs import SPECS, hints
from mta.testing.plugins import FakeMessage, FakeSession, FakeTransaction
from mta_hooks import Health

ARGUMENTS = {
    "placement": Placement("INBOX", Flags.SEEN, frozenset({"k"})),
    "message": FakeMessage(),
    "recipients": (),
    "params": {},
    "results": (),
    "envelopes": (),
    "address": Address("a", "example.org"),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["action", "type", "each", "edits", "notes", "text", "code", "target", "score", "folder", "flags", "keywords", "add", "value",
     "remove", "index", "address", "user", "reject", "accept", "delivered", "MailboxTarget", "HookTarget", "AuthResult", "a@b.example"]
)  # fmt: skip
LIKELY = st.dictionaries(WORDS, WORDS | JSON | st.lists(WORDS | JSON, max_size=2), max_size=4)
CALLED = sorted(name for name, spec in SPECS.items() if spec.mode != "load")


@given(st.lists(st.binary(max_size=30)), st.data())
def test_lines_come_out_however_they_are_cut(parts, data) -> None:
    whole = b"".join(part.replace(b"\n", b"") + b"\n" for part in parts)
    lines, out, rest = Lines(), [], whole
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        out += [bytes(line) for line in lines.feed(rest[:size])]
        rest = rest[size:]
    assert out == whole.split(b"\n")[:-1]


def test_a_line_is_bounded() -> None:
    lines = Lines()
    assert list(lines.feed(b"x" * LONGEST_LINE)) == []
    with pytest.raises(Rubbish, match="longer than"):
        list(lines.feed(b"x"))


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_line_is_an_object_or_rubbish(octets) -> None:
    try:
        assert type(decode_line(octets)) is dict
    except Rubbish as exc:
        assert str(exc)  # noqa: PT017  # either is right


@given(st.dictionaries(st.text(max_size=5), JSON.filter(lambda value: "nan" not in str(value).lower()), max_size=3))
def test_what_is_sent_is_one_line(fields) -> None:
    line = encode_line(fields)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    decode_line(line[:-1])


def test_octets_that_are_no_text_are_sent_as_such() -> None:
    assert encode_line({"x": "caf\udce9"}) == b'{"x":"caf?"}\n'


@pytest.mark.parametrize("hook", CALLED)
@settings(max_examples=20)
@given(answer=JSON | LIKELY | st.lists(LIKELY, max_size=2))
def test_any_answer_is_one_that_the_hook_takes_or_refused(hook, answer) -> None:
    try:
        value = answer_in(SPECS[hook], answer, ARGUMENTS)
    except BadAnswer as exc:
        assert str(exc)  # noqa: PT017  # either is right
    else:
        assert value is None or isinstance(problem_of(value, SPECS[hook], ARGUMENTS), str)


@pytest.mark.parametrize("hook", ["deliver", "smtp_mail", "message_modify", "mailbox_deliver", "recipient_lookup", "delivered"])
@settings(max_examples=40)
@given(
    out=st.binary(max_size=80) | LIKELY.map(lambda value: json.dumps(value).encode()),
    err=st.binary(max_size=20),
    status=st.integers(-64, 255),
)
def test_any_end_of_a_program_is_an_answer_or_an_error(hook, out, err, status) -> None:
    try:
        value = answer_of(SPECS[hook], Finished("", status, out, err), {**ARGUMENTS, "message": FakeMessage()})
    except (Outside, TemporaryFailure) as exc:
        assert len(str(exc)) < 2000  # noqa: PT017  # either is right
    else:
        assert value is None or problem_of(value, SPECS[hook], ARGUMENTS) == "" or SPECS[hook].mode == "verdict"


@given(st.text(max_size=20), st.sampled_from(["example.org", ""]))
def test_addresses_cross(local, domain) -> None:
    try:
        Address.parse(f"{Address(local, 'example.org')}")
    except ValueError:
        return
    address = Address(local, domain) if domain or local.isalnum() else Address("postmaster", "")
    assert address_of(str(address)) == address
    assert address_of(str(Address("", "example.org"))) == Address("", "example.org")


@given(st.sampled_from(list(Flags)), st.frozensets(st.sampled_from(["a", "$Junk"])), st.booleans())
def test_answers_come_back_as_they_went(flags, keywords, drop) -> None:
    placement = Placement("Lists/x", flags, keywords, ("Copy",), drop)
    assert answer_in(SPECS["mailbox_deliver"], answer_out(placement), {}) == placement
    recipient = Recipient(Address("a b", "x.example"), Address("b", "x.example"), "rfc822;b", frozenset({"NEVER"}), {"X": None})
    assert convert(plain(recipient), Recipient) == recipient


def test_each_recipient_s_verdict_crosses() -> None:
    verdicts = {
        Address("a", "x.example"): Verdict.from_json({"action": "reject"}),
        Address("b", "x.example"): Verdict.from_json({"action": "accept"}),
    }
    assert answer_in(SPECS["message_check"], json.loads(json.dumps(answer_out(verdicts))), {}) == verdicts


def test_arguments_are_plain_json() -> None:
    notes = {"data": [1, {"x": Address("a", "b")}], "live": object(), 5: "five"}
    session, message = FakeSession(notes=notes), FakeMessage(sender=Address("a", "b"))
    out = arguments_out(
        {"session": session, "transaction": FakeTransaction(), "message": message, "sender": None, "params": {"SIZE": "5"}}
    )
    assert json.loads(json.dumps(out)) == out
    assert out["session"]["notes"] == {"data": [1, {"x": "a@b"}], "5": "five"}
    assert out["message"] == {"id": "q1", "origin": "smtp", "size": message.size, "sender": "a@b", "notes": {}}
    assert set(hints("smtp_mail")) >= {"session", "return"}


@pytest.mark.parametrize("notes", [[], "x", {"x": "y" * 70_000}])
def test_notes_are_an_object_of_bounded_size(notes) -> None:
    with pytest.raises(BadAnswer, match="notes must be"):
        notes_in(notes)


# ---- every hook


def sample(hint):
    """A value of this type with something in it."""
    plain_values = {
        str: "x@y.example",
        int: 7,
        float: 1.5,
        bool: True,
        bytes: b"x",
        type(None): None,
        Address: Address("a", "x.example"),
        Any: 5,
    }
    if hint in plain_values:
        return plain_values[hint]
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return members[0]
    if origin in (typing.Union, types.UnionType):
        return sample(next(m for m in members if m is not type(None)))
    if origin is tuple:
        return tuple(sample(m) for m in members if m is not ...)
    if origin is collections.abc.Mapping:
        return {sample(members[0]): sample(members[1])}
    if origin is collections.abc.Sequence:
        return [sample(members[0])]
    if origin in (frozenset, list):
        return origin([sample(members[0])])
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return next(iter(hint))
    if hasattr(hint, "__supertype__"):
        return sample(hint.__supertype__)
    if hint is Health:
        return Health("degraded", "x")
    kinds = typing.get_type_hints(hint)
    looked_at = {"sources": ("192.0.2.1",)}  # texts that have a form
    return hint(**{f.name: looked_at.get(f.name) or sample(kinds[f.name]) for f in dataclasses.fields(hint)})


CROSSING = [(h, n) for h in CALLED for n in SPECS[h].arguments if not uncrossable(SPECS[h], [n]) and n not in (*VIEWS, "server")]


@pytest.mark.parametrize(("hook", "name"), CROSSING)
def test_every_argument_of_every_hook_crosses(hook, name) -> None:
    value = sample(hints(hook)[name])
    assert convert(decode_line(encode_line({"x": plain(value)}))["x"], hints(hook)[name]) == value


@pytest.mark.parametrize("hook", CALLED)
def test_every_answer_of_every_hook_crosses(hook) -> None:
    if uncrossable(SPECS[hook], ()):
        return
    returned = hints(hook)["return"]
    for kind in typing.get_args(returned) or (returned,):
        if kind is not type(None):
            value = sample(kind)
            crossed = answer_in(SPECS[hook], decode_line(encode_line({"x": answer_out(value)}))["x"], {})
            assert crossed == (tuple(value) if isinstance(crossed, tuple) else value)
