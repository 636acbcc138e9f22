"""REPLACE and UID REPLACE (RFC 8508 §3)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.wire.imap.append import Appendix, read_message
from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.sequence import SequenceSet, read_set


@dataclass(frozen=True, slots=True)
class Replace:
    """``sequence`` names one message, which may be "*"."""

    sequence: SequenceSet
    mailbox: str
    message: Appendix
    uid: bool = False


def read_replace(scan: Scanner, uid: bool, utf8: bool) -> Replace:
    sequence = read_set(scan)
    if sequence.saved or len(sequence.ranges) != 1 or sequence.ranges[0][0] != sequence.ranges[0][1]:
        raise Malformed("one message is replaced")
    scan.space()
    name = decode_name(scan.astring(), utf8=utf8)
    scan.space()
    return Replace(sequence, name, read_message(scan, utf8), uid)
