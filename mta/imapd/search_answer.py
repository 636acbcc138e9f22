"""How results of SEARCH and SORT are told and saved (RFC 4731, RFC 5182, RFC 5267 §3, RFC 6203 §4, RFC 9394)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.imapd.columns import Columns
from mta.imapd.selected import Selected
from mta.imapd.session import Session
from mta.wire.imap.mailbox import encode_name
from mta.wire.imap.response import esearch_response, search_response, sort_response
from mta.wire.imap.search import Search
from mta.wire.imap.search_keys import And, Key, ModSeq, Not, Or
from mta.wire.imap.sequence import partial_of

_ALL = frozenset({"ALL"})


def tell(
    session: Session,
    selected: Selected,
    columns: Columns,
    command: Search,
    order: Sequence[int],
    *,
    sorted_: bool = False,
    scores: Sequence[int] | None = None,
    named: bool = False,
) -> None:
    """``order``: positions found, ascending or as sorted; ``scores`` likewise. ``named``: with the name of the mailbox (RFC 7377 §2.1)."""
    options, partial = command.options, command.partial
    numbers: Sequence[int] = selected.uids(order) if command.uid else [at + 1 for at in order]
    reported = reported_of(order, options, partial)
    if options is not None and "SAVE" in options:
        selected.saved = sorted(selected.uids(reported))
    modseq = None
    if mentions_modseq(command.key) and order:
        modseq = max((columns.modseqs[at] for at in reported), default=0)
    if options is None and sorted_:
        session.out.write(sort_response(numbers, modseq))
    elif options is None and not session.rev2:
        session.out.write(search_response(numbers, modseq))
    elif options is None or options != {"SAVE"}:
        told = scores if options is not None and "RELEVANCY" in options else None
        session.out.write(
            esearch_response(
                session.tag,
                numbers,
                options or _ALL,
                uid=command.uid,
                modseq=modseq,
                partial=partial,
                scores=told,
                mailbox=(encode_name(selected.name, utf8=session.utf8), selected.uid_validity) if named else None,
            )
        )


def reported_of(found: Sequence[int], options: frozenset[str] | None, partial: tuple[int, int] | None) -> Sequence[int]:
    """With MIN, MAX or PARTIAL, and without ALL and COUNT, only these are saved and have a mod-sequence (RFC 5182 §2.1, RFC 4731 §3.2,
    RFC 9394 §3.1)."""
    chosen = options & {"MIN", "MAX", "PARTIAL"} if options is not None else None
    if not chosen or not found or (options is not None and options & {"ALL", "COUNT"}):
        return found
    ends = {found[0] if end == "MIN" else found[-1] for end in chosen - {"PARTIAL"}}
    return sorted(ends.union(partial_of(found, partial) if partial is not None else ()))


def mentions_modseq(key: Key) -> bool:
    if isinstance(key, And):
        return any(map(mentions_modseq, key.keys))
    if isinstance(key, Or):
        return mentions_modseq(key.left) or mentions_modseq(key.right)
    return isinstance(key, ModSeq) or (isinstance(key, Not) and mentions_modseq(key.key))
