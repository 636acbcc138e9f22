"""Logins of the machine's own accounts, through PAM: SMTP, IMAP and POP3 alike.

PAM's modules are other people's C code that blocks, forks and crashes; so they run in helper processes and never in the server.
PAM says which passwords are right; mailboxes belong to accounts of the directory, which are looked up by address.
Left out: sessions, credentials, changing passwords, conversations with more than a password.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
from pathlib import Path

from mta_hooks import Address, AuthFail, AuthOk, ConfigError, Context, Session, TemporaryFailure, hookimpl
from mta_hooks.services import Registry
from mta_pam.config import PamConfig
from mta_pam.pool import HelperDied, Pool

MAX_PASSWORD = 511
"""Octets: PAM_MAX_RESP_SIZE with its NUL."""

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\Z")
_FOLDERS = ("/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d")


class Pam:
    """The plugin. It holds the helpers of this worker, which start when first needed."""

    def __init__(self) -> None:
        self._pool: Pool | None = None

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(PamConfig)

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        """A service without a file would be PAM's ``other``, whatever that allows: refused. So is a machine without PAM."""
        config: PamConfig = ctx.config
        folders = (config.folder,) if config.folder else _FOLDERS
        if not any((Path(folder) / config.service).is_file() for folder in folders):
            key, where = f"plugins.{ctx.plugin}.service", str(Path(folders[0]) / config.service)
            raise ConfigError(where, key, "there is no such file", "write it, or name the service that is meant")
        try:
            await self._helpers(config).start()
        except (OSError, HelperDied) as exc:
            raise ConfigError(f"plugins.{ctx.plugin}", f"plugins.{ctx.plugin}.command", str(exc), "install libpam") from exc

    @hookimpl
    async def shutdown(self) -> None:
        if self._pool is not None:
            self._pool.close()

    @hookimpl
    async def auth_verify(self, username: str, credential: str, session: Session, ctx: Context) -> AuthOk | AuthFail | None:
        """None: of another domain, or no account that PAM knows. Raises TemporaryFailure when PAM gives no answer in time."""
        config: PamConfig = ctx.config
        address = _address_of(username, config)
        if address is None or not _ACCOUNT.match(address.local):
            return None
        octets = credential.encode("utf-8", "surrogatepass")
        if not 0 < len(octets) <= MAX_PASSWORD or b"\0" in octets:  # PAM's strings end at NUL
            return AuthFail("not a password")
        question = {"user": address.local, "password": credential, "rhost": session.client_ip}
        try:
            async with asyncio.timeout(config.deadline):
                answer, detail = await self._helpers(config).ask(question)
        except TimeoutError as exc:
            raise TemporaryFailure(f"PAM: no answer within {config.deadline:g} s") from exc
        except (OSError, HelperDied) as exc:
            ctx.log.error("pam.helper_died", reason=str(exc))
            raise TemporaryFailure(f"PAM: {exc}") from exc
        if answer not in ("ok", "fail", "unknown"):
            ctx.log.warning("pam.unavailable", service=config.service, reason=detail)
            raise TemporaryFailure(f"PAM: {detail}")
        if answer == "unknown":
            return None
        return AuthOk(str(address)) if answer == "ok" else AuthFail(detail)

    def _helpers(self, config: PamConfig) -> Pool:
        if self._pool is None:
            self._pool = Pool(config.helper_command(), config.helpers)
        return self._pool


def _address_of(username: str, config: PamConfig) -> Address | None:
    """The account's canonical address: lower case, as the directory has it."""
    text = username.lower()
    try:
        address = Address.parse(text if "@" in text else f"{text}@{config.domains[0]}")
    except ValueError:
        return None
    return address if address.domain in config.domains else None
