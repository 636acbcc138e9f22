"""Attachments of mail to scans@… become files: what a scanner, a fax gateway or a photographer sends lands in a folder.

Copy into ``hooks_dir`` with save_attachments.yaml:

    config: {folder: /srv/scans, types: [application/pdf, "image/*"]}
    when: {recipient: "scans@*"}

A file is named after the message's id and the attachment's own name, and appears complete or not at all: a delivery that is
made twice, as any may be after a crash, writes the same files. Mail without such an attachment bounces. A full disk costs
nothing: the mail waits. The server's account must be able to write the folder.
"""
# SPDX-License-Identifier: Apache-2.0

import email
import email.policy
import os
import re
from fnmatch import fnmatch
from pathlib import Path

from mta_hooks import Delivered, Failed, hookimpl


@hookimpl(timeout=60)
async def deliver(message, ctx):
    types = ctx.config.get("types", ["*/*"])
    saved = await ctx.threads.run(save, message.raw, message.id, Path(ctx.config["folder"]), types)
    if not saved:
        return Failed("no attachment of a kind that is taken here", enhanced="5.6.1")
    ctx.log.info("save_attachments.saved", id=message.id, files=saved)
    return Delivered(f"{saved} files saved")


def save(octets, id, folder, types):
    """In a thread: parsing 50 MB takes its time."""
    saved = 0
    for part in email.message_from_bytes(octets, policy=email.policy.default).walk():
        name = part.get_filename()
        if not name or part.is_multipart() or not any(fnmatch(part.get_content_type(), kind) for kind in types):
            continue
        saved += 1
        plain = re.sub(r"[^\w.-]", "_", name).lstrip(".")[-100:]  # no path, no hidden file
        unfinished = folder / f".{id}-{saved}"
        unfinished.write_bytes(part.get_payload(decode=True) or b"")
        os.replace(unfinished, folder / f"{id}-{saved}-{plain}")
    return saved
