"""ESEARCH: SEARCH in several mailboxes (RFC 7377 §2)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass, replace

from mta.wire.imap.mailbox_filter import MailboxFilter, read_filter
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.search import Search, read_search


@dataclass(frozen=True, slots=True)
class MultiSearch:
    """``where`` None: in the open mailbox. ``search`` always has options, and is by uid."""

    search: Search
    where: tuple[MailboxFilter, ...] | None = None


def read_multisearch(scan: Scanner, utf8: bool) -> MultiSearch:
    where = None
    if scan.text[scan.pos : scan.pos + 4].upper() == b"IN (":
        scan.pos += 4
        found = [read_filter(scan, utf8)]
        while scan.take(b" "):
            if scan.peek() == 0x28:
                raise Malformed("no such scope")  # RFC 7377 §2.2 defines none
            found.append(read_filter(scan, utf8))
        scan.expect(b")")
        scan.space()
        where = tuple(found)
        if any(each.kind == "SELECTED-DELAYED" for each in where):
            raise Malformed("selected-delayed is for NOTIFY")
    search = read_search(scan, True)
    options = frozenset({"ALL"}) if search.options is None else search.options
    return MultiSearch(replace(search, options=options), where)
