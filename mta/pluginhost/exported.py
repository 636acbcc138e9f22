"""The environment of a program: the names of Postfix's local(8), so that old scripts run unchanged, and a few of ours.

Nothing is inherited. As in Postfix, characters that a careless script could stumble over become "_": the exact values are in
the JSON on descriptor 3. A name whose value is not known is there and empty.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mta.model.address import Address
from mta.model.message import Recipient
from mta.pluginhost.confine import Account

LONGEST = 1000
"""Characters of one value."""
_CENSORED = re.compile(r"[^0-9A-Za-z!@%_=+:,./\\-]")  # Postfix: command_expansion_filter
_RESULT = re.compile(r";\s*([A-Za-z0-9-]+)=([A-Za-z]+)")
_PATH = "/usr/local/bin:/usr/bin:/bin"


def environment(hook: str, arguments: Mapping[str, Any], account: Account, hostname: str = "") -> dict[str, str]:
    """``account`` is the one that the program runs as; ``hostname``: whose Authentication-Results fields are ours."""
    recipient, original = _recipients(arguments)
    session, holder = arguments.get("session"), arguments.get("message") or arguments.get("transaction")
    local = recipient.local if recipient is not None else ""
    base, _, extension = local.partition("+")
    values = {
        "SENDER": _sender(arguments, holder),
        "RECIPIENT": str(recipient or ""),
        "ORIGINAL_RECIPIENT": str(original or ""),
        "LOCAL": local,
        "DOMAIN": recipient.domain if recipient is not None else "",
        "EXTENSION": extension,
        "USER": base or account.name,
        "LOGNAME": base or account.name,
        "ENVID": (getattr(arguments.get("transaction"), "params", None) or {}).get("ENVID") or "",
        "CLIENT_ADDRESS": getattr(session, "client_ip", ""),
        "CLIENT_HELO": getattr(session, "helo", ""),
        "CLIENT_HOSTNAME": "",
        "CLIENT_PROTOCOL": getattr(session, "protocol", "").upper(),
        "SASL_METHOD": "",
        "SASL_USERNAME": getattr(session, "user", ""),
        "SASL_SENDER": "",
        "MTA_ID": getattr(holder, "id", "") or getattr(arguments.get("record"), "id", ""),
        "MTA_SPAM_SCORE": _score(arguments, holder),
        "MTA_AUTH_RESULTS": _results(arguments, hostname),
    }
    censored = {name: _CENSORED.sub("_", str(value)[:LONGEST]) for name, value in values.items()}
    fixed = {"MTA_HOOK": hook, "HOME": account.home or "/", "SHELL": account.shell or "/bin/sh", "PATH": _PATH, "LANG": "C.UTF-8"}
    return censored | fixed


def _score(arguments: Mapping[str, Any], holder: Any) -> str:
    """What hooks have added up so far; empty once the message is in the queue, and where there is none."""
    scores: Mapping[str, float] | None = arguments.get("scores")
    if scores is not None:
        return f"{sum(scores.values()):g}"
    score = getattr(getattr(holder, "transaction", None) or arguments.get("transaction"), "score", None)
    return "" if score is None else f"{score:g}"


def _results(arguments: Mapping[str, Any], hostname: str) -> str:
    """``spf=pass,dkim=fail``: those of this call, else those of our own field in the message's header (RFC 8601)."""
    message = arguments.get("message")
    if "results" in arguments:
        found = [(r.method, r.result) for r in arguments["results"]]
    elif message is not None and hostname:
        ours = (text for text in message.header_all("Authentication-Results") if text.partition(";")[0].split()[:1] == [hostname])
        found = _RESULT.findall(next(ours, ""))
    else:
        found = []
    return ",".join(f"{method}={result}" for method, result in found)


def _recipients(arguments: Mapping[str, Any]) -> tuple[Address | None, Address | None]:
    """(recipient, as the peer gave it), when the call is about exactly one."""
    given = arguments.get("recipient") or arguments.get("address")
    if isinstance(given, Address):
        return given, given
    several: Sequence[Recipient] = arguments.get("recipients") or getattr(arguments.get("transaction"), "recipients", None) or ()
    if len(several) == 1:
        return several[0].address, several[0].original
    return None, None


def _sender(arguments: Mapping[str, Any], holder: Any) -> str:
    """Empty: the null sender, or none is known."""
    if "sender" in arguments:
        return str(arguments["sender"] or "")
    return str(getattr(holder, "sender", None) or getattr(arguments.get("record"), "sender", None) or "")
