"""Safe mode: the config without what others than we ourselves bring, for a server that a plugin keeps from its work.

An environment variable, so that it holds for the reloads of a running server and for a unit file alike.
"""
# SPDX-License-Identifier: Apache-2.0

import os

from mta.config.sections import Config

SAFE_MODE = "MTA_SAFE_MODE"
GROUP = "mta.plugins"
SERVER = "mta-server"
"""The distribution whose plugins are first-party."""


def asked_for_safe_mode() -> bool:
    return os.environ.get(SAFE_MODE, "") not in ("", "0")


def first_party() -> frozenset[str]:
    """Names of the plugins that the server's own distribution brings."""
    from importlib.metadata import entry_points  # twenty milliseconds that other commands need not spend

    return frozenset(e.name for e in entry_points(group=GROUP) if e.dist is not None and e.dist.name == SERVER)


def without_third_parties(config: Config) -> tuple[Config, tuple[str, ...]]:
    """The config with first-party plugins alone and no drop-in hooks; and what was left out."""
    ours = first_party()
    left_out = tuple(name for name in config.plugins if name not in ours)
    update: dict[str, object] = {"plugins": {name: section for name, section in config.plugins.items() if name in ours}}
    if config.hooks_dir:
        update["hooks_dir"] = None
        left_out = (*left_out, "hooks_dir")
    return config.model_copy(update=update), left_out
