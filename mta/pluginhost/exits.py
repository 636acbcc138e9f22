"""What a one-shot program said: exit status and output turned into the answer of its hook.

Exit statuses are those of Postfix (sysexits.h) and of qmail; an enhanced status code (RFC 3463) at the start of the output outranks
them. Standard output is nothing, a JSON object, or, where a hook has one, an older form: a message or header lines for
message_modify and message_sign, folder and flags for mailbox_deliver.
"""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from mta.model.delivery import Deferred, Delivered, Failed
from mta.model.errors import TemporaryFailure
from mta.model.message import Placement
from mta.model.verdict import accept, defer, reject
from mta.pluginhost.call import Outside
from mta.pluginhost.crossing import BadAnswer, answer_in, edit_in, judges, keep_notes, notes_in, one_line
from mta.pluginhost.jsonlines import Rubbish, decode_line
from mta.pluginhost.launcher import describe_status
from mta.pluginhost.specs import Spec
from mta.wire.mime.headers import fields, header_end
from mta_hooks.edits import AddHeader, Edit, RemoveHeader, ReplaceHeader, SetBody

DEFER = {75: "temporary failure", 71: "system resource problem", 111: "temporary failure"}
FAIL = {
    64: ("5.3.0", "command line usage error"),
    65: ("5.6.0", "data format error"),
    66: ("5.3.0", "cannot open input"),
    67: ("5.1.1", "user unknown"),
    68: ("5.1.2", "host name unknown"),
    69: ("5.3.0", "service unavailable"),
    70: ("5.3.0", "internal software error"),
    72: ("5.3.0", "system file missing"),
    73: ("5.2.0", "cannot create user output file"),
    74: ("5.3.0", "input/output error"),
    76: ("5.5.0", "remote error in protocol"),
    77: ("5.7.0", "permission denied"),
    78: ("5.3.5", "local configuration error"),
    100: ("5.3.0", "refused"),
}
HANDLED = 99
_ENHANCED = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})(?:[ \t]+(.*))?")
_TRACE = frozenset({b"received", b"return-path", b"authentication-results"})
"""Fields that stay as they are, whatever a program makes of them."""


class Finished(NamedTuple):
    """A program that has ended. ``error``: why it never began."""

    error: str
    status: int
    out: bytes
    err: bytes


def answer_of(spec: Spec, done: Finished, arguments: Mapping[str, Any]) -> Any:
    """The hook's answer. Raises Outside for what is none, TemporaryFailure for a hook that cannot say "later" otherwise."""
    if done.error:
        raise Outside(f"cannot be run: {done.error}")
    text = _first_line(done.out) if done.out.lstrip()[:1] != b"{" else ""
    found = _ENHANCED.match(text) or _ENHANCED.match(_first_line(done.err))
    if found and (judges(spec) or spec.name == "deliver"):
        return _said(spec, found[1], f"{found[1]}.{found[2]}.{found[3]}", one_line(found[4] or ""))
    if done.status == 0:
        return _output(spec, done.out, arguments)
    if done.status == HANDLED:
        return _handled(spec, text, arguments)
    if done.status in DEFER:
        return _said(spec, "4", "4.3.0", text or DEFER[done.status])
    if done.status in FAIL:
        enhanced, meaning = FAIL[done.status]
        return _said(spec, "5", enhanced, text or meaning)
    error = _first_line(done.err)
    raise Outside(describe_status("", done.status) + (f": {error}" if error else ""))


def _first_line(octets: bytes) -> str:
    lines = octets[:4096].decode("utf-8", "replace").splitlines()
    return next((one_line(line) for line in lines if line.strip()), "")


def _said(spec: Spec, digit: str, enhanced: str, text: str) -> Any:
    """2: yes, 4: later, 5: no."""
    if spec.name == "deliver":
        if digit == "2":
            return Delivered(text or "delivered")
        return Deferred(text or "temporary failure", enhanced) if digit == "4" else Failed(text or "refused", enhanced)
    if judges(spec):
        if digit == "2":
            return None
        return (
            defer(text or "temporary failure", enhanced=enhanced) if digit == "4" else reject(text or "refused", enhanced=enhanced)
        )
    if digit == "4":
        raise TemporaryFailure(text)
    raise Outside(text)


def _handled(spec: Spec, text: str, arguments: Mapping[str, Any]) -> Any:
    """It has seen to everything: nobody else is asked."""
    if spec.name == "deliver":
        return Delivered(text or "handled")
    if judges(spec):
        return accept(text)
    if spec.name == "mailbox_deliver" and isinstance(placement := arguments.get("placement"), Placement):
        return dataclasses.replace(placement, drop=True)
    return None


def _output(spec: Spec, out: bytes, arguments: Mapping[str, Any]) -> Any:
    stripped = out.strip()
    if stripped.startswith(b"{"):
        return _object(spec, stripped, arguments)
    if stripped.startswith(b"[") and spec.listed:
        return _list(spec, stripped, arguments)
    if spec.name == "deliver":
        return Delivered(_first_line(out) or "delivered")
    if not stripped:
        return None
    if spec.name == "message_modify":
        return _new_message(out, arguments["message"].raw)
    if spec.name == "message_sign":
        return [AddHeader(*pair) for pair in reversed(_pairs(_crlf(out)))]
    if spec.name == "mailbox_deliver":
        return _folder_and_flags(spec, stripped, arguments["placement"])
    return None


def _object(spec: Spec, out: bytes, arguments: Mapping[str, Any]) -> Any:
    try:
        said = decode_line(out)
        notes = notes_in(said.pop("notes", {}))
        edits = said.pop("edits", None)
        if edits is not None:
            if AddHeader not in spec.answers or not isinstance(edits, list):
                raise BadAnswer(f"{spec.name} makes no edits" if isinstance(edits, list) else "edits must be a list")
            answer: Any = [edit_in(edit) for edit in edits]
        elif spec.name == "deliver" and not said:
            answer = Delivered()
        else:
            answer = answer_in(spec, said, arguments) if said else None
    except (BadAnswer, Rubbish) as exc:
        raise Outside(f"answered {exc}") from None
    keep_notes(notes, arguments)
    return answer


def _list(spec: Spec, out: bytes, arguments: Mapping[str, Any]) -> Any:
    """Several answers, of a hook that takes several."""
    try:
        said = msgspec.json.decode(out)
        return answer_in(spec, said, arguments)
    except (BadAnswer, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Outside(f"answered {exc}") from None


def _folder_and_flags(spec: Spec, out: bytes, placement: Placement) -> Placement:
    """First line the folder, each further line a flag or keyword."""
    folder, *words = [line.strip() for line in out.decode("utf-8", "replace").splitlines() if line.strip()]
    flags = [w[1:] for w in words if w.startswith("\\")]
    keywords = [w for w in words if not w.startswith("\\")]
    said = {"folder": folder, "flags": flags, "keywords": sorted({*placement.keywords, *keywords})}
    try:
        made: Placement = answer_in(spec, said, {"placement": placement})
    except BadAnswer as exc:
        raise Outside(f"answered {exc}") from None
    return dataclasses.replace(made, flags=made.flags | placement.flags)


# ---- a new message as edits of the old one


def _new_message(out: bytes, old: bytes) -> list[Edit]:
    """Header lines to put on top, or a whole message: the edits that make it out of the old one."""
    new = _crlf(out)
    end = header_end(new)
    is_whole = new[end - 4 : end] == b"\r\n\r\n" or end < len(new)
    if not is_whole:
        return [AddHeader(*pair) for pair in reversed(_pairs(new))]
    old = _crlf(old)
    edits = _edits(_pairs(old), _pairs(new))
    if new[end:].rstrip(b"\r\n") != old[header_end(old) :].rstrip(b"\r\n"):
        edits.append(SetBody(new[end:], encoded=True))
    return edits


def _crlf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _pairs(octets: bytes) -> list[tuple[str, str]]:
    """(name as written, value with its folding) of the fields that may be edited."""
    out = []
    for field in fields(octets):
        if field.name not in _TRACE:
            name = octets[field.start : field.value - 1].decode("ascii", "replace").rstrip()
            out.append((name, octets[field.value : field.end].decode("utf-8", "surrogateescape").rstrip("\r\n").lstrip(" \t")))
    return out


def _edits(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> list[Edit]:
    """From the last change to the first, so that an index still counts what it counted; new fields on top or below the last."""
    out: list[Edit] = []
    for tag, start, end, new_start, new_end in reversed(difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()):
        if tag == "equal":
            continue
        gone, come = list(range(start, end)), list(new[new_start:new_end])
        while gone and come and old[gone[-1]][0].lower() == come[-1][0].lower():
            place = gone.pop()
            name, value = come.pop()
            out.append(ReplaceHeader(name, value, _index(old, place)))
        out += [RemoveHeader(old[place][0], _index(old, place)) for place in reversed(gone)]
        top = start == 0
        added: list[Edit] = [AddHeader(name, value, top) for name, value in (reversed(come) if top else come)]
        out += added
    return sorted(out, key=lambda edit: isinstance(edit, AddHeader))


def _index(pairs: Sequence[tuple[str, str]], place: int) -> int:
    """How many fields of the same name stand above."""
    name = pairs[place][0].lower()
    return sum(1 for other, _ in pairs[:place] if other.lower() == name)
