"""Mail to support@… becomes a ticket: the message is posted to a ticket system by HTTP.

Copy ticket.py and ticket.yaml into ``hooks_dir`` and set the URL; nothing else. A ticket system that is down costs no
mail: the message stays in the queue and is tried again. ``message-id`` is sent along because a delivery is made *at least*
once: when the server dies between the ticket and the note of it, the same message comes again.
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import Deferred, Delivered, Failed, hookimpl


@hookimpl(timeout=20)
async def deliver(message, ctx):
    headers = {"content-type": "message/rfc822", "message-id": message.id}
    reply = await ctx.http.request("POST", ctx.config["url"], headers=headers, data=message.raw)
    if reply.status < 300:
        return Delivered(f"ticket {reply.headers.get('location', '')}")
    if reply.status < 500:
        return Failed(f"ticket system refuses it with {reply.status}")
    return Deferred(f"ticket system said {reply.status}")
