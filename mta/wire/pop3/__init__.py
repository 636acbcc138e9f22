"""POP3 octets to values and back (RFC 1939, RFC 2449, RFC 5034, RFC 2595, RFC 3206, RFC 6856). Left out: APOP."""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.pop3.command import Command, Lines, LineTooLong, parse
from mta.wire.pop3.multiline import Stuffer, stuff
from mta.wire.pop3.reply import err, ok
from mta.wire.pop3.top import TopCutter

__all__ = ["Command", "LineTooLong", "Lines", "Stuffer", "TopCutter", "err", "ok", "parse", "stuff"]
