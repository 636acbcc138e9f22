"""Checks of single values. Each raises ValueError with a reason; the loader adds file, line and key."""
# SPDX-License-Identifier: Apache-2.0

import os
import re
from ipaddress import ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from mta.config.urls import parse_listen
from mta.model.address import Address
from mta.model.domain import normalise


def _listen_url(value: str) -> str:
    parse_listen(value)
    return value


def _network(value: str) -> str:
    try:
        return str(ip_network(value, strict=False))
    except ValueError as exc:
        raise ValueError(f"{value!r} is no address and no network such as 192.0.2.0/24 or 2001:db8::/32") from exc


def _host_name(value: str) -> str:
    return normalise(value) if value else ""


def _absolute(value: str, info: ValidationInfo) -> str:
    """Relative paths count from the folder of the config file, when there is one."""
    base = (info.context or {}).get("base")
    return value if base is None else os.path.normpath(os.path.join(base, os.path.expanduser(value)))


def _domain_or_all(value: str) -> str:
    return value if value == "*" else normalise(value)


def _source_address(value: str) -> str:
    return str(ip_address(value))


def _backend_url(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*:.*", value):
        raise ValueError(f"{value!r} names no backend: write scheme:… such as a plugin offers")
    return value


def _address(value: str) -> str:
    return str(Address.parse(value))


def listed(value: object) -> object:
    """One alone stands for a list of one."""
    return [value] if isinstance(value, str) else value


def plugin_table(value: object) -> object:
    """``sql:`` with nothing behind it, or a plain list of names, is an empty config each."""
    if isinstance(value, list | tuple):
        return {str(name): {} for name in value}
    if isinstance(value, dict):
        return {name: {} if section is None else section for name, section in value.items()}
    return value


ListenUrl = Annotated[str, AfterValidator(_listen_url)]
Network = Annotated[str, AfterValidator(_network)]
DomainName = Annotated[str, AfterValidator(normalise)]
HostName = Annotated[str, AfterValidator(_host_name)]
BackendUrl = Annotated[str, AfterValidator(_backend_url)]
MailAddress = Annotated[str, AfterValidator(_address)]
DomainOrAll = Annotated[str, AfterValidator(_domain_or_all)]
SourceAddress = Annotated[str, AfterValidator(_source_address)]
FilePath = Annotated[str, AfterValidator(_absolute)]
