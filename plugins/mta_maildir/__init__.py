"""Mailboxes as Maildir++ folders, in the files that Dovecot reads and writes too: names, flags, keywords, UIDs, subscriptions.

``storage.mailboxes: maildir:/srv/mail/%d/%n`` puts them there; everything else stays in the database. What Dovecot has no
file for (modseqs, expunged uids, sizes of lines without ``W=``) is in ``mta-journal`` of each folder (``journal.py``). All disk
work runs in a few threads, under one lock for each account that the processes of this server share (``account.py``).
"""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING

from mta_hooks import hookimpl

if TYPE_CHECKING:
    from mta_hooks.backends import SeparateStore, StoreOptions
    from mta_hooks.services import Registry


def open_store(url: str, options: "StoreOptions") -> "SeparateStore":
    """Make the store for ``maildir:/path/with/%d/%n``; nothing is touched before ``open``. Raises ConfigError."""
    from mta_maildir.store import MaildirStore

    return MaildirStore(url, options)


@hookimpl
def register(registry: "Registry") -> None:
    registry.backend("store", "maildir", open_store)
