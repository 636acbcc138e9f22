"""ESEARCH (MULTISEARCH, RFC 7377): one answer for each mailbox in which something was found."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterable, Sequence

from mta.imapd.answer import bad, ok
from mta.imapd.contexts import refusal
from mta.imapd.place import everything
from mta.imapd.progress import Progress
from mta.imapd.search import find_for
from mta.imapd.search_answer import mentions_modseq, tell
from mta.imapd.search_columns import mentions_numbers
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.model.errors import NoSuchMailbox
from mta.model.mailbox import DELIMITER, MailboxInfo
from mta.wire.imap.mailbox_filter import MailboxFilter
from mta.wire.imap.multisearch import MultiSearch
from mta.wire.imap.search import Search


async def multisearch(session: Session, command: MultiSearch) -> bytes:
    search, where = command.search, command.where or (MailboxFilter("SELECTED"),)
    elsewhere = any(each.kind != "SELECTED" for each in where)
    here = any(each.kind == "SELECTED" for each in where)
    if here and session.selected is None:
        raise bad(b"open a mailbox first")
    assert search.options is not None
    if "UPDATE" in search.options:
        raise refusal(session)
    if elsewhere and (mentions_numbers(search.key) or "SAVE" in search.options):
        raise bad(b"message numbers and SAVE are for the open mailbox")  # RFC 7377 §2.1
    if search.charset and session.charset_fixed:
        raise bad(b"no CHARSET after ENABLE UTF8=ACCEPT")
    if mentions_modseq(search.key):
        session.use_condstore()
    done: set[int] = set()
    if here:
        selected = session.mailbox
        done.add(selected.mailbox)
        await _look(session, selected, search)
    if elsewhere:
        others = [info for info in await _named(session, where) if info.id not in done]
        progress = Progress(session, len(others))
        for number, info in enumerate(others):
            progress.at(number)
            await _look_elsewhere(session, info, search)
    return ok(b"ESEARCH done")


async def _look_elsewhere(session: Session, info: MailboxInfo, search: Search) -> None:
    try:
        view = await session.server.view(info.id)
    except NoSuchMailbox:
        return  # it went meanwhile
    selected = Selected(view, info.name, read_only=True, rev2=session.rev2)
    try:
        await _look(session, selected, search)
    finally:
        selected.close()


async def _look(session: Session, selected: Selected, search: Search) -> None:
    columns = selected.columns or await selected.rows()
    found, scores = await find_for(session, selected, columns, search)
    if found or "SAVE" in (search.options or ()):
        tell(session, selected, columns, search, found, scores=scores, named=True)
    await session.out.drain()


async def _named(session: Session, where: Sequence[MailboxFilter]) -> Iterable[MailboxInfo]:
    """Those that exist and may be read, each once, in the order of LIST."""
    known, rights = await everything(session)
    readable = [info for info in known if info.exists and "r" in rights.get(info.name, "r")]
    return [info for info in readable if any(_is_meant(info, info.name in rights, each) for each in where)]


def _is_meant(info: MailboxInfo, foreign: bool, by: MailboxFilter) -> bool:
    if by.kind == "MAILBOXES":
        return info.name in by.names
    if by.kind == "SUBTREE":
        return any(info.name == name or info.name.startswith(name + DELIMITER) for name in by.names)
    if by.kind == "SUBTREE-ONE":
        return any(info.name == name or info.name.rpartition(DELIMITER)[0] == name for name in by.names)
    if by.kind == "SUBSCRIBED":
        return info.subscribed
    if by.kind == "PERSONAL":
        return not foreign
    return by.kind == "INBOXES" and info.name == "INBOX"
