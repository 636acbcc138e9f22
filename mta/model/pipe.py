"""Programs as targets of aliases: ``|name``. What the queue calls such a recipient, and how it is read back.

The name and the alias stand in the local part of an address without a domain. No peer, and nobody with ``mta-sendmail``, can name such
an address: only an alias leads to a program.
"""
# SPDX-License-Identifier: Apache-2.0

import re

from mta.model.address import Address

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


def program_of(target: str) -> str:
    """The name in ``|name``. Raises ValueError: never a command line."""
    name = target.removeprefix("|")
    if not NAME.match(name):
        raise ValueError(f"{target[:80]!r}: a program is named as |name, without folder, arguments and spaces")
    return name


def pipe_address(name: str, alias: Address) -> Address:
    return Address(f"|{name} {alias}", "")


def read_pipe(address: Address) -> tuple[str, Address] | None:
    """(name, the alias that led to it); None for every other address."""
    if address.domain or not address.local.startswith("|"):
        return None
    name, _, alias = address.local[1:].partition(" ")
    return name, Address.parse(alias)


def shown(address: Address) -> Address:
    """What senders are told of: the alias, not what is behind it."""
    found = read_pipe(address)
    return address if found is None else found[1]
