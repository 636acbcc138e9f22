"""What the running server says, beside what the config says."""
# SPDX-License-Identifier: Apache-2.0

from mta.cli.live import hook_rows, joined, main_numbers, with_sums


def running(name, *, kind="package", state="ok", reason="", calls=2, errors=1):
    hook = {
        "hook": "smtp_mail",
        "calls": calls,
        "errors": errors,
        "seconds": 0.5,
        "blocked": 0,
        "last_error": "",
        "last_error_at": 0.0,
    }
    return with_sums(
        {
            "name": name,
            "kind": kind,
            "state": state,
            "reason": reason,
            "version": "1",
            "path": "",
            "required": False,
            "hooks": [hook],
        }
    )


def listed(name, state="ok", reason=""):
    return {
        "name": name,
        "kind": "package",
        "state": state,
        "version": "1",
        "required": False,
        "hooks": "",
        "reason": reason,
        "path": "",
    }


def test_health_and_sums_come_from_the_server():
    (row,) = joined([listed("spf")], {"spf": running("spf", state="suspended", reason="circuit breaker open")}, as_json=False)
    assert (row["state"], row["reason"], row["calls"], row["errors"], row["seconds"]) == (
        "suspended",
        "circuit breaker open",
        2,
        1,
        0.5,
    )
    assert row["running"]


def test_what_a_reload_would_change_is_said():
    rows = joined(
        [listed("new"), listed("bad", "failed", "no such module")],
        {"old": running("old"), "directory": running("directory", kind="built-in")},
        as_json=False,
    )
    by_name = {row["name"]: row for row in rows}
    assert "mta reload" in by_name["new"]["reason"]
    assert by_name["bad"]["reason"] == "no such module"
    assert "not in the config any more" in by_name["old"]["reason"]
    assert by_name["directory"]["reason"] == ""
    assert by_name["old"]["hooks"] == "smtp_mail"


def test_a_hook_has_its_mean_and_its_last_error():
    plugin = running("x", calls=4)
    plugin["hooks"][0] |= {"last_error": "RuntimeError: no", "last_error_at": 1e9}
    (row,) = hook_rows(plugin)
    assert row["mean"] == "125.000 ms"
    assert row["last_error"].startswith("RuntimeError: no (2001-09-")
    assert hook_rows(running("y", calls=0))[0]["mean"] == ""


def test_main_numbers_are_sums_and_name_who_is_in_trouble():
    def metric(name, value, **labels):
        return {"name": name, "value": value, "labels": labels}

    answer = {
        "problems": ["1 of 2 workers serve"],
        "plugins": [running("spf"), running("bad", state="degraded")],
        "metrics": [
            metric("mta_messages_total", 3, origin="smtp", result="accepted"),
            metric("mta_messages_total", 4, origin="lmtp", result="accepted"),
            metric("mta_hook_errors_total", 2, plugin="bad", hook="x"),
        ],
    }
    lines = dict(main_numbers(answer))
    assert lines["messages"] == "7 accepted, 0 refused, 0 deferred"
    assert lines["plugins"] == "2 errors, bad degraded"
    assert lines["problem"] == "1 of 2 workers serve"
