"""SORT and THREAD (RFC 5256 §3; DISPLAYFROM, DISPLAYTO: RFC 5957; RETURN: RFC 5267 §3; RELEVANCY: RFC 6203 §5)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.wire.imap.fuzzy import has_fuzzy
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.search import Search, read_charset, read_keys, read_options
from mta.wire.imap.thread import ALGORITHMS

CRITERIA = frozenset({"ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO", "RELEVANCY"})
_MOST = 20


@dataclass(frozen=True, slots=True)
class Sort:
    """SORT and UID SORT. ``criteria``: (name, reversed)."""

    criteria: tuple[tuple[str, bool], ...]
    search: Search


@dataclass(frozen=True, slots=True)
class Thread:
    """THREAD and UID THREAD; ``algorithm`` of ``thread.ALGORITHMS``."""

    algorithm: str
    search: Search


def read_sort(scan: Scanner, uid: bool) -> Sort:
    options, partial = read_options(scan)
    criteria = tuple(scan.parenthesised(_criterion, empty=False))
    if len(criteria) > _MOST:
        raise Malformed("too many sort criteria")
    search = _criteria_search(scan, uid, options, partial)
    if any(name == "RELEVANCY" for name, _ in criteria) and not has_fuzzy(search.key):
        raise Malformed("RELEVANCY needs FUZZY")
    return Sort(criteria, search)


def read_thread(scan: Scanner, uid: bool) -> Thread:
    algorithm = scan.word()
    if algorithm not in ALGORITHMS:
        raise Malformed("no such threading algorithm")
    return Thread(algorithm, _criteria_search(scan, uid, None, None))


def _criteria_search(scan: Scanner, uid: bool, options: frozenset[str] | None, partial: tuple[int, int] | None) -> Search:
    scan.space()
    charset = read_charset(scan)
    scan.space()
    return Search(read_keys(scan, charset, options), uid, options, partial)


def _criterion(scan: Scanner) -> tuple[str, bool]:
    word = scan.word()
    reverse = word == "REVERSE"
    if reverse:
        scan.space()
        word = scan.word()
    if word not in CRITERIA:
        raise Malformed("no such sort criterion")
    return word, reverse
