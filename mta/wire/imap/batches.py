"""UIDBATCHES (RFC 10022 §3)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.wire.imap.scanner import Malformed, Scanner


@dataclass(frozen=True, slots=True)
class Batches:
    """``size``: messages in one; ``wanted``: the first and last batch to be told of, from 1; None: all."""

    size: int
    wanted: tuple[int, int] | None = None


def read_batches(scan: Scanner) -> Batches:
    size = _positive(scan)
    if not scan.take(b" "):
        return Batches(size)
    first = _positive(scan)
    scan.expect(b":")
    return Batches(size, (first, _positive(scan)))


def _positive(scan: Scanner) -> int:
    number = scan.number()
    if not number:
        raise Malformed("numbers begin at 1")
    return number
