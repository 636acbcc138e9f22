"""Forward by rule, as procmail's ``! address``: mail whose sender or subject matches is sent on, with or without a copy here.

Copy into ``hooks_dir`` with forward_by_rule.yaml; the first rule that fits counts, patterns are the shell's:

    config:
      rules:
        - {recipient: "office@*", subject: "*invoice*", to: [books@example.net]}
        - {recipient: "office@*", sender: "*@partner.example", to: [eve@example.net], keep: true}
    when: {recipient: "office@*"}

A message comes by here once (``X-Forwarded-By-Rule``), so two rules that point at each other do no harm. What was sent is
remembered for a week (``ctx.kv``): a delivery made twice is not forwarded twice. Bounces of forwarded mail come to the recipient
who set the rule, not to the stranger who wrote; a bounce itself is forwarded as one (null sender).
"""
# SPDX-License-Identifier: Apache-2.0

from fnmatch import fnmatch

from mta_hooks import Delivered, hookimpl

MARK = "X-Forwarded-By-Rule"


@hookimpl(timeout=30)
async def deliver(recipient, sender, message, ctx):
    rule = next((r for r in ctx.config["rules"] if fits(r, recipient, sender, message)), None)
    if rule is None or str(recipient) in message.header_all(MARK):
        return None  # the mailbox, as ever
    done = f"{message.id} {recipient}"
    if await ctx.kv.get(done) is None:
        octets = f"{MARK}: {recipient}\r\n".encode("utf-8", "replace") + message.raw
        sent = await ctx.send(None if sender is None else str(recipient), rule["to"], octets)
        await ctx.kv.set(done, sent.encode(), ttl=7 * 86400)
    return None if rule.get("keep") else Delivered(f"forwarded to {', '.join(rule['to'])}")


def fits(rule, recipient, sender, message):
    given = {"recipient": str(recipient), "sender": str(sender or ""), "subject": message.header("subject") or ""}
    return all(fnmatch(value.lower(), rule[name].lower()) for name, value in given.items() if name in rule)
