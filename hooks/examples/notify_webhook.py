"""A web hook for every delivery: JSON about who got what, signed so that the receiver can tell it from a forgery.

Copy into ``hooks_dir`` with notify_webhook.yaml holding ``config: {url: https://…, secret: …}``. ``delivered`` is durable:
the note was written with the message itself, a failed call is repeated for a day and a half, then kept as a dead letter.
The receiver may see a note twice and tells by ``id`` and ``recipient``; it checks ``x-signature`` =
HMAC-SHA256(secret, body) in hexadecimal. The null sender is "".
"""
# SPDX-License-Identifier: Apache-2.0

import hashlib
import hmac
import json

from mta_hooks import TemporaryFailure, hookimpl

FIELDS = ("id", "message_id", "sender", "recipient", "result", "reply", "remote", "attempts", "size", "at")


@hookimpl
async def delivered(record, ctx):
    body = json.dumps({name: getattr(record, name) for name in FIELDS}).encode()
    signature = hmac.new(ctx.config["secret"].encode(), body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-signature": signature}
    reply = await ctx.http.request("POST", ctx.config["url"], headers=headers, data=body)
    if reply.status >= 300:
        raise TemporaryFailure(f"the web hook answered {reply.status}")
