"""``unix:[/path][?domain=…&lowest=…&highest=…]``: whose users, in which domains."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from urllib.parse import parse_qs

from mta.model.domain import normalise
from mta_hooks import ConfigError
from mta_hooks.backends import AccountsOptions

_FIX = "write unix: or unix:/path/to/passwd?domain=example.org&lowest=1000&highest=59999"


@dataclass(frozen=True, slots=True)
class Place:
    """``path`` "": the system's users. ``domains``: the first one is that of the canonical addresses. Ids are inclusive."""

    path: str
    domains: tuple[str, ...]
    lowest: int = 1000
    highest: int = 59999

    @classmethod
    def of(cls, url: str, options: AccountsOptions) -> "Place":
        """Raises ConfigError."""
        path, _, query = url.removeprefix("unix:").partition("?")
        try:
            given = parse_qs(query, strict_parsing=bool(query), max_num_fields=50)
            if unknown := given.keys() - {"domain", "lowest", "highest"}:
                raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
            domains = tuple(normalise(name) for name in given.get("domain", ())) or options.domains or (options.hostname,)
            lowest, highest = (int(given.get(key, [default])[-1]) for key, default in (("lowest", "1000"), ("highest", "59999")))
        except ValueError as exc:
            raise ConfigError("directory", "directory", f"{url}: {exc}", _FIX) from exc
        if path and not path.startswith("/"):
            raise ConfigError("directory", "directory", f"{url}: the path must be absolute", _FIX)
        if not 0 < lowest <= highest:
            raise ConfigError("directory", "directory", f"{url}: no user has an id from {lowest} to {highest}, root aside", _FIX)
        return cls(path, domains, lowest, highest)
