"""Mailing lists go to folders of their own: ``List-Id: <python-dev.python.org>`` is filed into ``Lists/python-dev``.

Copy into ``hooks_dir``. The folder is made when missing. With ``config: {folder: Lists, read: true}`` in
file_by_list_id.yaml the parent is another and the mail is marked as read.
"""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
import re

from mta_hooks import Flags, hookimpl

LIST_ID = re.compile(r"<([A-Za-z0-9][A-Za-z0-9_-]{0,63})[.>]")


@hookimpl
def mailbox_deliver(message, placement, ctx):
    found = LIST_ID.search(message.header("List-Id") or "")
    if found is None or placement.folder != "INBOX":
        return None
    flags = placement.flags | Flags.SEEN if ctx.config.get("read") else placement.flags
    return dataclasses.replace(placement, folder=f"{ctx.config.get('folder', 'Lists')}/{found[1]}", flags=flags)
