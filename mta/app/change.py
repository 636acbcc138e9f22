"""A reload as the plugins of the new config see it, before it takes effect: ``config_changed``."""
# SPDX-License-Identifier: Apache-2.0

from typing import Any

from mta.config.load import InvalidConfig, LoadedConfig
from mta.config.sections import Config
from mta.pluginhost.plan import Plan

_LONGEST = 1000
"""Characters of one plugin's complaint."""
_SECRETS = frozenset({"admin_token", "database", "password", "plugins"})


async def judge_change(plan: Plan, old: Config, loaded: LoadedConfig) -> None:
    """Raises InvalidConfig with what every plugin has against it, TemporaryFailure when one failed."""
    answers = await plan.all(old=shown(old), new=shown(loaded.config))
    if answers:
        raise InvalidConfig([loaded.mistake(f"plugins.{plugin}", str(text)[:_LONGEST]) for plugin, text in answers])


def shown(config: Config) -> dict[str, Any]:
    """The config as plain values, without what could hold a secret and without other plugins' sections."""
    plain: dict[str, Any] = _without_secrets(config.model_dump(mode="json"))
    return plain


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(each) for key, each in value.items() if key not in _SECRETS}
    return [_without_secrets(each) for each in value] if isinstance(value, list) else value
