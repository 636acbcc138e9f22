"""Who may write to whom: refuse, let in, and pass on, by three short lists.

Copy into ``hooks_dir`` with gatekeeper.yaml:

    config:
      refuse: ["*@spam.example", "*@*.spam.example"]     # senders that get 550
      internal: ["staff@example.org"]                    # recipients that only authenticated senders may write to
      forward: {"old@example.org": "new@example.com"}    # recipients that are somebody else now

Patterns are the shell's. The null sender (bounces) is never refused: a list of refused senders must not lose bounces.
"""
# SPDX-License-Identifier: Apache-2.0

from fnmatch import fnmatch

from mta_hooks import hookimpl, redirect, reject


@hookimpl
def smtp_mail(sender, ctx):
    if sender is not None and any(fnmatch(str(sender).lower(), pattern) for pattern in ctx.config.get("refuse", ())):
        return reject("we take no mail from there")
    return None


@hookimpl
def smtp_rcpt(session, recipient, ctx):
    address = str(recipient).lower()
    if address in ctx.config.get("internal", ()) and not session.user:
        return reject("only members may write to this address")
    target = ctx.config.get("forward", {}).get(address)
    return redirect(target, reason="gatekeeper") if target else None
