"""Changes to a message as data: collected from ``message_modify`` and ``message_sign``, applied between the stages."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AddHeader:
    """Add ``name: value``. ``top``: above all others (trace and signature fields); else below the last one.

    ``value`` is unfolded text or holds CRLF only before a space or tab; CR, LF or NUL otherwise are refused with the
    plugin's name in the log.
    """

    name: str
    value: str
    top: bool = True


@dataclass(frozen=True, slots=True)
class RemoveHeader:
    """Remove the header fields of this name (case does not matter): the ``index``-th from the top, or all when None."""

    name: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class ReplaceHeader:
    """Replace the value of the ``index``-th field of this name; adds one when there is none."""

    name: str
    value: str
    index: int = 0


Edit = AddHeader | RemoveHeader | ReplaceHeader
