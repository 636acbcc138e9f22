"""The contract with plugins is frozen: hooks and arguments may be added (at the end), never renamed, moved or removed.

``contract.json`` is what was promised. After adding a hook or an argument, add it there too (the failing test prints the
new file); a change that needs more than an addition needs a new major version of ``mta_hooks.API``.
"""

import dataclasses
import json
from pathlib import Path

import mta_hooks
from mta.pluginhost.specs import SPECS
from mta_hooks import services, views

FROZEN = Path(__file__).with_name("contract.json")


def contract():
    hooks = {
        name: {
            "arguments": list(s.arguments),
            "mode": s.mode,
            "allowed": sorted(s.allowed),
            "on_error": s.on_error,
            "answers": sorted(a.__name__ for a in s.answers),
        }
        for name, s in sorted(SPECS.items())
    }
    objects = {
        kind.__name__: sorted(set(kind.__annotations__) | {n for n in vars(kind) if not n.startswith("_")})
        for kind in (views.Session, views.Transaction, views.Message, services.Context, services.Registry, services.Server)
    }
    records = {
        kind.__name__: [f.name for f in dataclasses.fields(kind)]
        for kind in (
            mta_hooks.Attempt,
            mta_hooks.DeliveryPolicy,
            mta_hooks.DeliveryRecord,
            mta_hooks.DeliveryStatus,
            mta_hooks.DsnReport,
            mta_hooks.Envelope,
            mta_hooks.LogRecord,
            mta_hooks.MailboxEvent,
            mta_hooks.ReceivedReport,
            mta_hooks.RecipientReport,
            mta_hooks.ReportedRecipient,
            mta_hooks.TlsCertificate,
            mta_hooks.TlsPolicy,
            mta_hooks.TlsResult,
            mta_hooks.Tlsa,
            mta_hooks.Verdict,
        )
    }
    return {"api": mta_hooks.API, "names": sorted(mta_hooks.__all__), "hooks": hooks, "objects": objects, "records": records}


def broken(old, new):
    """What was promised and is no longer so."""
    out = [f"name {n} is gone" for n in old["names"] if n not in new["names"]]
    for hook, was in old["hooks"].items():
        now = new["hooks"].get(hook)
        if now is None:
            out.append(f"hook {hook} is gone")
            continue
        if now["arguments"][: len(was["arguments"])] != was["arguments"]:
            out.append(f"{hook}: arguments {was['arguments']} became {now['arguments']}")
        if now["mode"] != was["mode"]:
            out.append(f"{hook}: mode {was['mode']} became {now['mode']}")
        if now["on_error"] != was["on_error"]:
            out.append(f"{hook}: on_error {was['on_error']} became {now['on_error']}")
        out += [
            f"{hook}: {what} may no longer be answered"
            for key in ("allowed", "answers")
            for what in was[key]
            if what not in now[key]
        ]
    for group in ("objects", "records"):
        for kind, members in old[group].items():
            out += [f"{kind}.{m} is gone" for m in members if m not in new[group].get(kind, ())]
    return out


def test_nothing_promised_is_broken() -> None:
    assert broken(json.loads(FROZEN.read_text()), contract()) == []


def test_additions_are_frozen_too() -> None:
    now = contract()
    assert json.loads(FROZEN.read_text()) == now, json.dumps(now, indent=1)


def test_the_check_sees_breakage() -> None:
    old = contract()
    new = json.loads(json.dumps(old))
    del new["hooks"]["route"]
    new["hooks"]["smtp_mail"]["arguments"].reverse()
    new["hooks"]["smtp_rcpt"]["allowed"].remove("redirect")
    new["hooks"]["deliver"]["arguments"].append("added")
    new["records"]["MailboxEvent"].remove("uids")
    new["names"].remove("reject")
    assert len(broken(old, new)) == 5
