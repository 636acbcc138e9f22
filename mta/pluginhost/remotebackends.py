"""Directories and tables that a plugin brings from a process of its own: each look-up is a question, with a time of its own.

The object lives over there, made when it is first asked, and again when the process has been started again: so every question says of
which URL it is. Databases, stores, blobs and search indexes do not leave the server: docs/decisions/isolated-plugins.md.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mta.model.address import Address
from mta.model.directory import Alias, Domain
from mta.model.errors import TemporaryFailure
from mta.net.prompt import own_task
from mta.pluginhost.call import Outside
from mta.pluginhost.crossing import BadAnswer, convert
from mta.pluginhost.described import BackendThere
from mta_hooks.backends.accounts import Account, AccountsOptions
from mta_hooks.lookup import TableOptions

if TYPE_CHECKING:
    from mta.pluginhost.standins import Process

LONGEST = 10.0
"""Seconds of one look-up, in which the process may be started again: then it counts as away."""


def backend_factory(there: BackendThere, process: "Process") -> Callable[[str, Any], Any]:
    """What ``registry.backend`` takes."""

    def directory(url: str, options: AccountsOptions) -> RemoteAccounts:
        given = {"data_dir": options.data_dir, "hostname": options.hostname, "domains": list(options.domains)}
        return RemoteAccounts(process, ["backend", "directory", there.scheme, url], given)

    def table(source: str, options: TableOptions) -> RemoteBackendTable:
        made = RemoteBackendTable(process, ["backend", "table", there.scheme, source], {"data_dir": options.data_dir})
        made.patterns = there.patterns
        return made

    factory: Callable[[str, Any], Any] = directory if there.kind == "directory" else table
    factory.place = there.place  # type: ignore[attr-defined]
    return factory


class _Remote:
    def __init__(self, process: "Process", offer: list[Any], options: Mapping[str, Any]) -> None:
        self._process, self._offer, self._options = process, offer, options

    async def open(self) -> None:
        await self._ask("open")

    async def close(self) -> None:
        await self._ask("close")

    async def _ask(self, method: str, *args: Any, kind: Any = Any) -> Any:
        """Raises TemporaryFailure, ConfigError."""
        await own_task()
        question = {"offer": [*self._offer, method]}
        try:
            async with asyncio.timeout(LONGEST):
                said = await self._process.ask(question, {"options": self._options, "args": list(args)})
            return convert(said.get("result"), kind)
        except TimeoutError:
            raise TemporaryFailure(f"{self._offer[3]}: no answer within {LONGEST:g} s") from None
        except Outside as exc:
            raise TemporaryFailure(f"{self._offer[3]}: {exc}") from exc
        except BadAnswer as exc:
            raise TemporaryFailure(f"{self._offer[3]}: answered {exc}") from exc


class RemoteAccounts(_Remote):
    """Fulfils mta_hooks.backends.Accounts."""

    async def domain(self, name: str) -> Domain | None:
        found: Domain | None = await self._ask("domain", name, kind=Domain | None)
        return found

    async def account(self, address: Address) -> Account | None:
        found: Account | None = await self._ask("account", address, kind=Account | None)
        return found

    async def alias(self, source: str) -> Alias | None:
        found: Alias | None = await self._ask("alias", source, kind=Alias | None)
        return found

    async def verify(self, account: Account, password: str) -> bool | None:
        found: bool | None = await self._ask("verify", account, password, kind=bool | None)
        return found


class RemoteBackendTable(_Remote):
    """Fulfils mta_hooks.lookup.TableBackend. ``patterns`` is what the factory says, else what the object says once it was asked."""

    patterns = False

    async def open(self) -> None:
        self.patterns = await self._ask("open", kind=bool)

    async def get(self, key: str) -> str | None:
        found: tuple[str | None, bool] = await self._ask("get", key, kind=tuple[str | None, bool])
        self.patterns = found[1]
        return found[0]
