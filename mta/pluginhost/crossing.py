"""Values of hooks as JSON and back, for programs and for plugins in a process of their own.

What is data crosses: addresses, recipients, records, verdicts, edits, answers, and copies of session, transaction and message. What is
a live object (a stream, a registry) does not, and ``uncrossable`` says so while loading. Answers come from outside:
each is checked against the type that the hook's specification gives it. An address may be a string everywhere.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mta.model.address import Address
from mta.model.delivery import Deferred, Delivered, Failed
from mta.model.message import Flags, Placement
from mta.model.verdict import Verdict
from mta.pluginhost.specs import Spec, hints
from mta_hooks.edits import (
    AddHeader,
    AddRecipient,
    Edit,
    RemoveHeader,
    RemoveRecipient,
    ReplaceHeader,
    ReplaceMessage,
    ReplacePart,
    ReplaceRecipient,
    SetBody,
    SetSender,
)

VIEWS = ("session", "transaction", "message")
_SEEN = (*VIEWS, "server", "part")
LONGEST_TEXT = 1000
MOST_NOTES = 2**16
"""Octets of all notes that one answer may bring, as JSON."""

SESSION = ("id", "protocol", "client_ip", "client_port", "local_ip", "local_port", "tls", "helo", "user")
TRANSACTION = ("id", "origin")
MESSAGE = ("id", "origin", "size")
PART = ("path", "content_type", "filename", "disposition", "size")
SERVER = ("hostname", "data_dir", "workers", "worker")
_ACTIONS: dict[str, type[Any]] = {"delivered": Delivered, "deferred": Deferred, "failed": Failed}
_FLAGS = {"seen": Flags.SEEN, "answered": Flags.ANSWERED, "flagged": Flags.FLAGGED, "deleted": Flags.DELETED, "draft": Flags.DRAFT}
_KEYWORD = re.compile(r"[^\x00-\x20\x7f(){%*\"\\\]]{1,100}\Z")  # RFC 9051 §9 flag-keyword
_SCALARS = (str, int, float, bool, type(None))


class BadAnswer(Exception):
    """What is wrong with an answer from outside."""


# ---- to JSON


def plain(value: Any) -> Any:
    """Values as JSON for programs: addresses as text, records as objects, octets in base64. Raises BadAnswer for what is no value."""
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, Placement):
        flags = [name for name, flag in _FLAGS.items() if value.flags & flag]
        return {**_fields(value), "flags": flags}
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(each) for each in value)
    raise BadAnswer(f"{type(value).__name__} is no value that can be sent")


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}


def view(name: str, value: Any) -> dict[str, Any] | None:
    """Session, transaction, message or part (without their octets) or server as an object."""
    if value is None:
        return None
    if name == "session":
        out = {key: getattr(value, key) for key in SESSION}
    elif name == "part":
        return {**{key: getattr(value, key) for key in PART}, "charset": getattr(value, "charset", "utf-8")}
    elif name == "server":
        return {key: getattr(value, key) for key in SERVER}
    elif name == "transaction":
        out = {key: getattr(value, key) for key in TRANSACTION}
        out |= {"sender": plain(value.sender), "recipients": plain(value.recipients), "params": plain(value.params)}
    else:
        out = {key: getattr(value, key) for key in MESSAGE}
        out["sender"] = plain(value.sender)
    out["notes"] = notes_out(value.notes)
    return out


def notes_out(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Those notes that are data; others stay where they are."""
    out = {}
    for key, value in notes.items():
        try:
            out[str(key)] = plain(value)
        except (BadAnswer, RecursionError):
            continue
    return out


def arguments_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of one call."""
    return {name: view(name, value) if name in _SEEN else plain(value) for name, value in values.items()}


def judges(spec: Spec) -> bool:
    """A verdict is an answer."""
    return spec.mode == "verdict" or Verdict in spec.answers


# ---- from JSON


def address_of(text: Any) -> Address:
    """An address as ``str`` writes it, the bare postmaster and the catch-all included. Raises BadAnswer."""
    if not isinstance(text, str):
        raise BadAnswer(f"an address must be text, not {type(text).__name__}")
    if "@" not in text:
        return Address(text, "")
    if text.startswith('""@'):
        return Address("", text[3:])
    try:
        return Address.parse(text)
    except ValueError as exc:
        raise BadAnswer(f"{text[:100]!r} is no address: {exc}") from None


def convert(value: Any, kind: Any) -> Any:
    """``value`` as a ``kind`` (a type, or any annotation of one). Raises BadAnswer."""
    try:
        return msgspec.convert(_addressed(value, kind), kind)
    except msgspec.ValidationError as exc:
        raise BadAnswer(str(exc)[:LONGEST_TEXT]) from None


def _addressed(value: Any, kind: Any) -> Any:
    """Replace texts by what msgspec reads as an Address, where ``kind`` says that one stands there."""
    if value is None:
        return None
    members: tuple[Any, ...] = getattr(kind, "__args__", ())
    if kind is Address or (isinstance(value, str) and Address in members and str not in members):
        address = address_of(value)
        return {"local": address.local, "domain": address.domain}
    if isinstance(value, list) and len(members) >= 1:
        return [_addressed(each, members[0]) for each in value]
    if isinstance(value, dict) and isinstance(kind, type) and dataclasses.is_dataclass(kind):
        known = {f.name: f.type for f in dataclasses.fields(kind)}
        if unknown := value.keys() - known.keys():
            raise BadAnswer(f"{kind.__name__} has no {min(unknown)}; it has {', '.join(known)}")
        if kind is Placement:
            value = {**value, "flags": _flags(value.get("flags", 0))}
        return {name: _addressed(each, known[name]) for name, each in value.items()}
    if isinstance(value, dict) and len(members) == 1 and dataclasses.is_dataclass(members[0]):
        return _addressed(value, members[0])
    if isinstance(value, dict):
        found = [m for m in members if isinstance(m, type) and dataclasses.is_dataclass(m)]
        return _addressed(value, found[0]) if len(found) == 1 else value
    return value


def _flags(value: Any) -> int:
    if isinstance(value, int):
        return value & 31
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadAnswer("flags must be a list of names")
    total = Flags(0)
    for name in value:
        if name.lstrip("\\").lower() not in _FLAGS:
            raise BadAnswer(f"there is no flag {name[:50]}; there are {', '.join(_FLAGS)}")
        total |= _FLAGS[name.lstrip("\\").lower()]
    return int(total)


def answer_out(answer: Any) -> Any:
    """An answer of a plugin as JSON, for ``answer_in`` at the other side."""
    if isinstance(answer, list | tuple):
        return [answer_out(each) for each in answer]
    if isinstance(answer, Verdict):
        return answer.to_json()
    if isinstance(answer, Mapping):
        return {"each": {str(key): answer_out(each) for key, each in answer.items()}}
    if dataclasses.is_dataclass(answer) and not isinstance(answer, Address):
        return {"type": type(answer).__name__, **_fields(answer)}
    return plain(answer)


def answer_in(spec: Spec, answer: Any, arguments: Mapping[str, Any]) -> Any:
    """An answer from outside as the value that the hook takes. Raises BadAnswer."""
    if answer is None:
        return None
    if isinstance(answer, list):
        if not spec.answers:
            untyped = [{k: v for k, v in each.items() if k != "type"} if isinstance(each, dict) else each for each in answer]
            return convert(untyped, hints(spec.name)["return"])
        if not spec.listed:
            raise BadAnswer(f"{spec.name} takes one answer, not a list")
        return [answer_in(spec, each, arguments) for each in answer]
    if isinstance(answer, str) and spec.answers in ((bytes,), (Address,)):
        return convert(answer, spec.answers[0])
    if not isinstance(answer, dict):
        return answer
    if isinstance(each := answer.get("each"), dict) and len(answer) == 1:
        return {address_of(key): _verdict(value) for key, value in each.items()}
    kind = answer.get("type")
    if kind is not None:
        return _typed(spec, kind, {key: value for key, value in answer.items() if key != "type"})
    return _untyped(spec, answer, arguments)


def _typed(spec: Spec, kind: Any, fields: dict[str, Any]) -> Any:
    for known in spec.answers:
        if known.__name__ == kind:
            return _checked(convert(fields, known))
    raise BadAnswer(f"{spec.name} takes {' or '.join(k.__name__ for k in spec.answers)}, not {str(kind)[:50]}")


def typed(answer: Any, kinds: Sequence[type[Any]]) -> Any:
    """What ``answer_out`` made of None or of one of these. Raises BadAnswer."""
    if answer is None:
        return None
    for known in kinds:
        if isinstance(answer, dict) and answer.get("type") == known.__name__:
            fields = {key: value for key, value in answer.items() if key != "type"}
            if isinstance(fields.get("lines"), list):
                fields["lines"] = octets_in(fields["lines"])
            return convert(fields, known)
    raise BadAnswer(f"no {' or '.join(k.__name__ for k in kinds)}")


# ---- texts that may be octets: words of IMAP


def octets_out(value: Any) -> Any:
    """A text, or lists of texts; one that is no UTF-8 (surrogates) as {"octets": base64}."""
    if isinstance(value, list | tuple):
        return [octets_out(each) for each in value]
    if isinstance(value, str) and not value.isascii():
        octets = value.encode("utf-8", "surrogateescape")
        if octets.decode("utf-8", "replace") != value:
            return {"octets": base64.b64encode(octets).decode("ascii")}
    return value


def octets_in(value: Any) -> Any:
    """What ``octets_out`` was given. Raises BadAnswer."""
    if isinstance(value, list):
        return [octets_in(each) for each in value]
    if not isinstance(value, dict):
        return value
    try:
        return base64.b64decode(value["octets"], validate=True).decode("utf-8", "surrogateescape")
    except (KeyError, TypeError, ValueError):
        raise BadAnswer("a text that is none") from None


def _untyped(spec: Spec, answer: dict[str, Any], arguments: Mapping[str, Any]) -> Any:
    action = answer.get("action")
    if spec.name == "deliver" and isinstance(action, str):
        if action not in _ACTIONS:
            raise BadAnswer(f"deliver answers {', '.join(_ACTIONS)}, not {action[:50]}")
        return _checked(convert({key: value for key, value in answer.items() if key != "action"}, _ACTIONS[action]))
    if spec.mode == "verdict" or (action is not None and judges(spec)):
        return _verdict(answer)
    if spec.mode == "pipeline" and isinstance(given := arguments.get(spec.arguments[-1]), spec.answers):
        return _checked(convert({**plain(given), **answer}, type(given)))  # only what differs has to be said
    if AddHeader in spec.answers:
        return edit_in(answer)
    objects = [known for known in spec.answers if known not in _SCALARS]
    if len(objects) == 1:
        return _checked(convert(answer, objects[0]))
    raise BadAnswer(f'{spec.name} takes an object with "type": {" or ".join(k.__name__ for k in spec.answers)}')


def _verdict(value: Any) -> Verdict:
    if not isinstance(value, dict):
        raise BadAnswer(f"a verdict must be an object, not {type(value).__name__}")
    try:
        return Verdict.from_json(value)
    except (KeyError, TypeError, ValueError) as exc:
        raise BadAnswer(f"not a verdict: {type(exc).__name__}: {str(exc)[:100]}") from None


_EDITS: dict[str, tuple[type[Any], str]] = {
    "add": (AddHeader, "name"),
    "remove": (RemoveHeader, "name"),
    "replace": (ReplaceHeader, "name"),
    "set_body": (SetBody, "text"),
    "replace_part": (ReplacePart, "path"),
    "replace_message": (ReplaceMessage, "text"),
    "add_recipient": (AddRecipient, "address"),
    "remove_recipient": (RemoveRecipient, "address"),
    "replace_recipient": (ReplaceRecipient, "address"),
    "set_sender": (SetSender, "address"),
}
"""Key of an edit: what it makes, and the field that its value is. "text" in place of "octets", which are base64, is UTF-8."""


def edit_in(value: Any) -> Edit:
    """``{"add": "X-Colour", "value": "blue", "top": true}``, ``{"replace_part": "2", "text": …}``, ``{"add_recipient": address}``, …"""
    if isinstance(value, dict):
        for verb, (kind, field) in _EDITS.items():
            if verb in value:
                fields = {field if key == verb else key: each for key, each in value.items()}
                if isinstance(text := fields.pop("text", None), str):
                    fields["octets"] = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")
                edit: Edit = convert(fields, kind)
                return edit
    raise BadAnswer('an edit is {"add": name, "value": …}, {"remove": name}, {"set_body": text}, …')


def _checked(value: Any) -> Any:
    """Bounds that a type does not express."""
    if isinstance(value, Placement):
        if not all(0 < len(name) <= 255 for name in (value.folder, *value.copies)) or len(value.copies) > 100:
            raise BadAnswer("folders have 1 to 255 characters, and there are at most 100 copies")
        if len(value.keywords) > 100 or not all(_KEYWORD.match(word) for word in value.keywords):
            raise BadAnswer('a keyword is a word without the characters (){%*"\\]')
    elif isinstance(value, Delivered | Deferred | Failed):
        return dataclasses.replace(value, text=one_line(value.text))
    return value


def one_line(text: str) -> str:
    """Text from outside for a reply, log or DSN: printable, one line, bounded."""
    return "".join(c if c.isprintable() else " " for c in text[: 2 * LONGEST_TEXT]).strip()[:LONGEST_TEXT]


def notes_in(notes: Any) -> dict[str, Any]:
    """Raises BadAnswer."""
    if not isinstance(notes, dict) or len(msgspec.json.encode(notes)) > MOST_NOTES:
        raise BadAnswer(f"notes must be an object of at most {MOST_NOTES} octets")
    return notes


def keep_notes(notes: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Put notes where this call has a place for them: at the message, else the transaction, else the session."""
    for name in ("message", "transaction", "session"):
        if arguments.get(name) is not None:
            arguments[name].notes.update(notes)
            return


def uncrossable(spec: Spec, names: Sequence[str]) -> str:
    """Why an implementation of this hook cannot run in another process; "" when it can."""
    kinds = hints(spec.name)
    for name in names:
        if name not in (*VIEWS, "server", "ctx") and not _is_data(kinds.get(name)):
            return f"{spec.name} is given {name}, which cannot leave the server's process"
    if not all(_is_data(kind) for kind in spec.answers):
        return f"{spec.name} answers {spec.answers[0].__name__}, a live object that only the server's process can have"
    return ""


def _is_data(hint: Any) -> bool:
    members: tuple[Any, ...] = getattr(hint, "__args__", ())
    if members:
        return all(_is_data(m) for m in members)
    if hint is Any or not isinstance(hint, type):
        return True
    return not getattr(hint, "_is_protocol", False)
