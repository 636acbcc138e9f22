"""Logins from a password file as Apache's htpasswd writes it: SMTP, IMAP and POP3 alike.

The file says which passwords are right; mailboxes belong to accounts of the directory, which are looked up by address. bcrypt,
SHA-2 crypt and yescrypt are those of the C library (libcrypt), argon2 that of argon2-cffi, ``$apr1$`` and ``{SHA}`` ours.
Left out, and refused by name in the log: passwords in clear, traditional crypt, ``$1$``; group files; changing passwords.
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import AuthFail, AuthOk, ConfigError, Context, TemporaryFailure, hookimpl
from mta_hooks.services import Registry
from mta_htpasswd.config import HtpasswdConfig
from mta_htpasswd.file import PasswordFile, UnsafeFile

MAX_PASSWORD = 512
"""Octets; libcrypt reads no more (CRYPT_MAX_PASSPHRASE_SIZE), and nobody types more."""


class Htpasswd:
    """The plugin. It holds the file as last read."""

    def __init__(self) -> None:
        self._file: PasswordFile | None = None

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(HtpasswdConfig)

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        """Read the file once, so that a wrong path or mode is said now and not at the first login."""
        try:
            await self._refresh(ctx)
        except (OSError, UnsafeFile) as exc:
            file = ctx.config.file
            raise ConfigError(
                file, f"plugins.{ctx.plugin}.file", str(exc), "make it readable for the server, writable for no one else"
            ) from exc

    @hookimpl
    async def auth_verify(self, username: str, credential: str, ctx: Context) -> AuthOk | AuthFail | None:
        """None: no such name in the file, and others may know it. A file that cannot be read answers "try again later"."""
        config: HtpasswdConfig = ctx.config
        address = config.address_of(username)
        if address is None:
            return None
        try:
            file = await self._refresh(ctx)
        except (OSError, UnsafeFile) as exc:
            ctx.log.error("htpasswd.unreadable", file=config.file, reason=str(exc))
            raise TemporaryFailure(f"{config.file}: {exc}") from exc
        stored = file.find(config.names_of(address))
        alone = address.domain in config.sole
        if stored is None and not alone:
            return None
        octets = credential.encode("utf-8", "surrogatepass")
        if not 0 < len(octets) <= MAX_PASSWORD or b"\0" in octets:  # NUL would end the password for libcrypt
            return AuthFail("not a password")
        right = await ctx.threads.run(file.verify, stored, octets)
        return AuthOk(str(address)) if right else AuthFail("wrong password" if stored is not None else "not in the file")

    async def _refresh(self, ctx: Context) -> PasswordFile:
        """The file as it is now. Raises OSError, UnsafeFile."""
        config: HtpasswdConfig = ctx.config
        if self._file is None or await ctx.threads.run(self._file.has_changed):
            self._file = await ctx.threads.run(PasswordFile.read, config.file)
            ctx.log.info("htpasswd.read", file=config.file, accounts=len(self._file))
            for line, problem in self._file.problems:
                ctx.log.warning("htpasswd.entry_refused", file=config.file, line=line, reason=problem)
        return self._file
