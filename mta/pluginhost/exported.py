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
_PATH = "/usr/local/bin:/usr/bin:/bin"


def environment(hook: str, arguments: Mapping[str, Any], account: Account) -> dict[str, str]:
    """``account`` is the one that the program runs as."""
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
        "MTA_SPAM_SCORE": "",
        "MTA_AUTH_RESULTS": ",".join(f"{r.method}={r.result}" for r in arguments.get("results", ())),
    }
    censored = {name: _CENSORED.sub("_", str(value)[:LONGEST]) for name, value in values.items()}
    fixed = {"MTA_HOOK": hook, "HOME": account.home or "/", "SHELL": account.shell or "/bin/sh", "PATH": _PATH, "LANG": "C.UTF-8"}
    return censored | fixed


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
