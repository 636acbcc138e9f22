"""The running server's own word for ``mta plugins`` and ``mta status``: health of its plugins and its main numbers."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from mta.app.control import Answer, ask
from mta.app.health import read_health
from mta.app.places import Places
from mta.config.load import LoadedConfig

_WAIT = 5.0
_WORST = ("ok", "degraded", "suspended", "failed")

Row = dict[str, Any]


def live(config: LoadedConfig) -> Answer | None:
    """What all workers count; None when no server runs, or it may not be asked (said on standard error)."""
    path = Places(config.config.data_dir).control
    try:
        answer = ask(path, "live", _WAIT)
    except PermissionError:
        click.echo(f"mta: {path}: permission denied, so without the running server's numbers", err=True)
        return None
    except (OSError, ValueError) as exc:
        click.echo(f"mta: the running server did not say its numbers: {exc}", err=True)
        return None
    return answer if answer and answer.get("ok") else None


def plugins_of(config: LoadedConfig, answer: Answer) -> dict[str, Row]:
    """By name: state and reason, as the workers see it or as its ``health_check`` says, whichever is worse; calls by hook."""
    found = {plugin["name"]: with_sums(plugin) for plugin in answer["plugins"]}
    for name, health in read_health(Places(config.config.data_dir).health, time.time()).items():
        row = found.get(name)
        if row is not None and _WORST.index(health["state"]) > _WORST.index(row["state"]):
            row |= {"state": health["state"], "reason": health["text"]}
    return found


def with_sums(plugin: Mapping[str, Any]) -> Row:
    hooks: Sequence[Mapping[str, Any]] = plugin["hooks"]
    return {
        **plugin,
        "calls": sum(hook["calls"] for hook in hooks),
        "errors": sum(hook["errors"] for hook in hooks),
        "seconds": round(sum(hook["seconds"] for hook in hooks), 3),
    }


def joined(rows: Iterable[Row], running: Mapping[str, Row], as_json: bool) -> list[Row]:
    """Rows of ``mta plugins list`` with what the server says; what only the server has comes last."""
    out, left = [], dict(running)
    for row in rows:
        now = left.pop(row["name"], None)
        if now is None:
            waits = row["state"] == "ok"
            out.append(row | {"running": False, "reason": "not in the running server yet: mta reload" if waits else row["reason"]})
        else:
            out.append(row | _now(now))
    for now in left.values():
        extra = "" if now["kind"] == "built-in" else "runs still, not in the config any more: mta reload"
        hooks = [hook["hook"] for hook in now["hooks"]]
        row = {key: now[key] for key in ("name", "kind", "version", "required", "path")}
        out.append(row | {"hooks": hooks if as_json else " ".join(hooks)} | _now(now) | ({"reason": extra} if extra else {}))
    return out


def _now(now: Row) -> Row:
    return {
        "running": True,
        **{key: now[key] for key in ("state", "reason", "calls", "errors", "seconds")},
        "by_hook": now["hooks"],
    }


def hook_rows(now: Row) -> list[Row]:
    """For people: one row for each hook, job and route."""
    rows = []
    for hook in now["hooks"]:
        mean = f"{hook['seconds'] / hook['calls'] * 1000:.3f} ms" if hook["calls"] else ""
        when = time.strftime(" (%Y-%m-%d %H:%M:%S)", time.localtime(hook["last_error_at"])) if hook["last_error"] else ""
        rows.append({**hook, "seconds": f"{hook['seconds']:.3f}", "mean": mean, "last_error": f"{hook['last_error'][:120]}{when}"})
    return rows


HOOK_COLUMNS = ("hook", "calls", "errors", "seconds", "mean", "blocked", "last_error")


def main_numbers(answer: Answer) -> list[tuple[str, str]]:
    """(what, numbers) lines for ``mta status``."""
    sums: dict[str, dict[str, float]] = {}
    for metric in answer["metrics"]:
        label = metric["labels"].get("result") or metric["labels"].get("state") or ""
        by = sums.setdefault(metric["name"], {})
        by[label] = by.get(label, 0) + metric["value"]

    def line(name: str, labels: Sequence[str]) -> str:
        return ", ".join(f"{int(sums.get(name, {}).get(label, 0))} {label}" for label in labels)

    errors = sums.get("mta_hook_errors_total", {}).get("", 0)
    troubled = [f"{p['name']} {p['state']}" for p in answer["plugins"] if p["state"] != "ok"]
    return [
        ("messages", line("mta_messages_total", ("accepted", "refused", "deferred"))),
        ("deliveries", line("mta_deliveries_total", ("delivered", "relayed", "deferred", "failed"))),
        ("queue", line("mta_queue_recipients", ("due", "waiting", "leased", "held", "error", "quarantine"))),
        ("notifications", line("mta_notifications", ("waiting", "dead"))),
        ("logins", line("mta_logins_total", ("ok", "failed", "refused", "unavailable"))),
        ("plugins", ", ".join([f"{int(errors)} errors", *troubled])),
        *(("problem", problem) for problem in answer["problems"]),
    ]
