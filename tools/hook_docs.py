"""Write docs/hooks: a page for every hook, from its specification and its example. ``--check`` only compares.

python tools/hook_docs.py [--check]
"""
# SPDX-License-Identifier: Apache-2.0

import ast
import inspect
import sys
from pathlib import Path

from mta.pluginhost.specs import SPECS, Spec
from mta_hooks import API, hookspecs

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs/hooks"
EXAMPLES = Path(__file__).with_name("hook_examples.py")

GROUPS = {
    "Life of a worker": ("register", "startup", "config_changed", "health_check", "shutdown"),
    "Conversation with a client": (
        "smtp_connect",
        "smtp_ehlo",
        "tls_certificate",
        "smtp_tls",
        "smtp_capabilities",
        "auth_policy",
        "auth_verify",
        "credentials_lookup",
        "auth_result",
        "session_login",
        "smtp_mail",
        "smtp_rcpt",
        "rcpt_policy_key",
        "smtp_data",
        "message_headers",
        "message_sink",
        "smtp_reply",
        "smtp_command",
        "imap_command",
        "verdict_override",
        "smtp_reset",
        "smtp_disconnect",
    ),
    "Message, in this order": (
        "mime_part",
        "message_authenticate",
        "message_check",
        "message_verdict",
        "message_modify",
        "message_sign",
    ),
    "Directory": ("address_rewrite", "domain_lookup", "recipient_lookup", "alias_expand", "user_lookup", "user_change"),
    "Queue and delivery": (
        "queue_enqueue",
        "queue_admin",
        "route",
        "delivery_policy",
        "delivery_attempt",
        "mx_lookup",
        "tls_policy",
        "tls_result",
        "delivery_modify",
        "delivery_status",
        "deliver",
        "mailbox_deliver",
    ),
    "Mailboxes": ("message_read", "mailbox_append", "mailbox_store", "mailbox_expunge"),
    "Notifications": (
        "message_accepted",
        "dsn_compose",
        "delivered",
        "deferred",
        "bounced",
        "report_received",
        "mailbox_event",
        "log_event",
    ),
}

MODES = {
    "verdict": "Plugins are asked in order until one gives a final verdict; `None` is no opinion.",
    "first": "Plugins are asked in order; the first answer that is not `None` counts.",
    "all": "Every plugin is asked; all answers that are not `None` are taken, in order. A list stands for several answers.",
    "pipeline": "Each plugin gets what the one before made of it; `None` changes nothing.",
    "durable": (
        "Called from the outbox, at least once: the row was written with the message's own transaction, so no crash loses the "
        "call and no plugin delays the mail. Called again after a failure, for all plugins; a plugin that must not act twice "
        "remembers the record in `ctx.kv`."
    ),
    "notify": "Every plugin is told, beside the session, which waits for none of them; answers and errors change nothing.",
    "load": "Called once while loading; `def` only, without `ctx`.",
}

ON_ERROR = {
    "defer": "defer: the peer is told to try again (451 4.3.0), or the queue does",
    "continue": "continue: logged, and as if the plugin had said nothing",
    "reject": "reject: 554 5.3.0",
    "retry": "retry: called again later, with growing waits; after twelve attempts kept as a dead letter",
}

OF_THEIR_OWN = {
    "startup": "a required plugin keeps the worker from starting; another is logged",
    "config_changed": "the reload is refused",
    "health_check": "the plugin is taken for failed",
}

ARGUMENTS = {
    "registry": "`Registry`: `config(model)`, `backend(kind, scheme, factory)`, `job(name, every, run, single=True)`, `routes(routes)`, `metrics(function)`",
    "server": "`Server`: `hostname`, `data_dir`, `workers`, `worker` (number, from 0)",
    "old": "the config that is in force, as a mapping",
    "new": "the config that was read, as a mapping",
    "server_name": 'lower case, or ""',
    "role": "what the address is, see above",
    "action": "a word, see above",
    "data": "names and values of the command",
    "stream": "octets",
    "session": "`Session`: one connection of any protocol; `id protocol client_ip tls helo user notes` …",
    "transaction": "`Transaction`: from MAIL to its end; `id origin sender recipients params notes`",
    "message": "`Message`: `id sender size raw chunks() headers header(name) header_all(name) notes`; read-only",
    "sender": "`Address`, or `None` for the null sender",
    "recipient": "`Address`",
    "recipients": "sequence of `Recipient`: `address original orcpt notify params`",
    "address": "`Address` of a domain of ours",
    "params": "ESMTP parameters, keywords in upper case, values verbatim or `None`",
    "name": "as the client gave it",
    "verb": 'upper case: "HELO", "EHLO" or "LHLO", or the one that was registered',
    "service": '"smtp", "imap" or "pop3"',
    "username": "as the client gave it",
    "credential": "the password in clear; never log it",
    "domain": "lower-case A-labels",
    "results": "sequence of `AuthResult` from `message_authenticate`",
    "user": "the account's address",
    "placement": "`Placement`: `folder flags keywords copies drop`",
    "mailbox": 'its name, levels separated by "/"; the inbox is "INBOX"',
    "how": "what is being done, see above",
    "flags": 'names: "\\\\Seen", "\\\\Deleted", "$Forwarded", …',
    "source": 'name of the mailbox from which messages come, or ""',
    "uids": "of messages; ascending, not empty unless said so above",
    "change": '"set", "add" or "remove"; for `user_change` a `UserChange`: `action password quota by`',
    "envelope": "`Envelope`: `id sender recipients origin received_at attempts user hold due priority`",
    "envelopes": "sequence of `Envelope`",
    "attempt": "`Attempt`: `number site transport last_reply`",
    "result": "`TlsResult`: `domain mx address local policy failure reason`",
    "mx": "a host name in lower case",
    "status": "`DeliveryStatus`: `code enhanced text remote delay`",
    "report": (
        "of dsn_compose a `DsnReport`: `id about message_id sender received_at recipients ret subject text`; of report_received a "
        "`ReceivedReport`: `kind reporter recipients envelope_id message_id sender feedback source domains tls begin end`"
    ),
    "site": 'the domain, or "smtp:host:port"',
    "record": "`DeliveryRecord`: complete, see `mta.model.delivery`; of log_event a `LogRecord`: `at level event fields`",
    "command": 'the verb in upper case, "" for the greeting, "." for the end of a message',
    "reply": "`Reply`: `code enhanced text close`",
    "args": "what follows the verb on its line",
    "hook": "name of the hook that the verdict was given in",
    "plugin": "who gave it",
    "verdict": "`Verdict`: `action code enhanced text reason target score`",
    "headers": "(name, value) pairs in order, values unfolded",
    "part": "`Part`: `path content_type filename disposition size octets text`; decoded when asked",
    "scores": "plugin -> sum of its scores",
    "tls": "`Tls`: `version cipher certificate` (the client's, DER, or `None`)",
    "capabilities": "lines of the reply to EHLO, below the server's name",
    "mechanism": '"PLAIN" or "LOGIN"',
    "ok": "`True` when the login succeeded",
    "reason": "a word or a few, see above",
    "event": "`MailboxEvent`: `event user mailbox at uids flags message_id …`, names of RFC 5423",
}


def pages() -> dict[str, str]:
    """File name -> text."""
    examples = _examples()
    out = {f"{name}.md": _page(spec, examples[name]) for name, spec in SPECS.items()}
    out["README.md"] = _index()
    return out


def _page(spec: Spec, example: str) -> str:
    function = getattr(hookspecs, spec.name)
    signature = inspect.signature(function)
    arguments = [f"| `{name}` | {ARGUMENTS[name].replace('|', '/')} |" for name in spec.arguments]
    if spec.mode != "load":
        arguments.append("| `ctx` | [services](../plugin-authors/services.md) of the plugin; in every hook |")
    facts = [f"**Mode** {spec.mode}. {MODES[spec.mode]}"]
    if spec.allowed:
        also = "; scores (`add_score`)" if spec.scores else ""
        facts.append(f"**Verdicts** {' '.join(f'`{a}`' for a in sorted(spec.allowed))}{also}. Any other is an error of the plugin.")
    if spec.mode not in ("verdict", "load"):
        facts.append(f"**Answer** `{signature.return_annotation}`")
    if spec.mode != "load":
        meaning = OF_THEIR_OWN.get(spec.name, ON_ERROR[spec.on_error])
        facts.append(f"**On error** {meaning}. A plugin's config or `@hookimpl(on_error=…)` may say otherwise.")
        facts.append(f"**Time** {spec.timeout:g} s for each implementation; `@hookimpl(timeout=…)` may say otherwise.")
    return "\n".join(
        [
            f"# {spec.name}",
            "",
            f"    {spec.name}{_plain(signature)}",
            "",
            _markdown(spec.text),
            "",
            "| argument | |",
            "|---|---|",
            *arguments,
            "",
            "\n\n".join(facts),
            "",
            "## Example",
            "",
            "```python",
            example,
            "```",
            "",
            "[All hooks](README.md)",
            "",
        ]
    )


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def _plain(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"


def _index() -> str:
    lines = [
        "# Hooks",
        "",
        f"API {API}. Generated by `tools/hook_docs.py` from `hooks/mta_hooks/hookspecs.py`; each page has an example that a test runs.",
        "An implementation is `def` or `async def`, names only the arguments it wants, and answers `None` when it has no opinion.",
        "How to begin: [your first hook in ten lines](../plugin-authors/first-hook.md); from other servers: [recipes](../plugin-authors/recipes.md).",
        "",
    ]
    for title, names in GROUPS.items():
        lines += [f"## {title}", "", "| hook | mode | on error | what |", "|---|---|---|---|"]
        for name in names:
            spec = SPECS[name]
            lines.append(
                f"| [{name}]({name}.md) | {spec.mode} | {'' if spec.mode == 'load' else spec.on_error} | {_markdown(_first_sentence(spec.text))} |"
            )
        lines.append("")
    return "\n".join(lines)


def _first_sentence(text: str) -> str:
    end = min((i for i in (text.find(mark) for mark in (". ", ".\n", "? ", "?\n")) if i >= 0), default=len(text) - 1)
    return " ".join(text[: end + 1].split())


def _examples() -> dict[str, str]:
    """Hook -> its function's source below the imports and classes that it uses."""
    source = EXAMPLES.read_text(encoding="utf-8")
    tree = ast.parse(source)
    lines = source.splitlines()
    classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    offered = {a.name for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "mta_hooks" for a in n.names}
    plain = [a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names]
    out = {}
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        helpers = [c for name, c in classes.items() if name in used]
        used |= {n.id for c in helpers for n in ast.walk(c) if isinstance(n, ast.Name)}
        head = [f"import {name}" for name in plain if name in used]
        parts = []
        if "BaseModel" in used:
            head.append("from pydantic import BaseModel")
        parts += ["\n".join(lines[c.lineno - 1 : c.end_lineno]) for c in helpers]
        head.append(f"from mta_hooks import {', '.join(sorted(offered & used, key=str.lower))}")
        parts.append("\n".join(lines[node.decorator_list[0].lineno - 1 : node.end_lineno]))
        out[node.name] = "\n".join(head) + "\n\n\n" + "\n\n\n".join(parts)
    return out


def main() -> int:
    wanted = pages()
    stale = [name for name, text in wanted.items() if not (PAGES / name).exists() or (PAGES / name).read_text("utf-8") != text]
    extra = [p.name for p in PAGES.glob("*.md") if p.name not in wanted]
    if "--check" in sys.argv[1:]:
        for name in [*stale, *extra]:
            print(f"docs/hooks/{name} is not what tools/hook_docs.py makes")
        return 1 if stale or extra else 0
    PAGES.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (PAGES / name).write_text(wanted[name], "utf-8")
    for name in extra:
        (PAGES / name).unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
