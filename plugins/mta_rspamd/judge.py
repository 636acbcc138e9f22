"""From rspamd's answer to a verdict, and to the fields that readers' filters look at."""
# SPDX-License-Identifier: Apache-2.0

import re

from mta_hooks import Verdict, add_score, defer, discard, quarantine, reject
from mta_rspamd.answer import Answer
from mta_rspamd.config import RspamdConfig

MAX_SYMBOLS = 40
"""In the header field; the log and the trace have fewer."""
UNCHECKED = [("X-Spam-Status", "Unknown, not checked: too large")]
"""The fields of a message that was not looked at: neither spam nor not."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")


def judge(answer: Answer, config: RspamdConfig) -> Verdict | None:
    """None when the answer weighs nothing: a score of zero would be an accept that ends the chain."""
    reason = f"rspamd: {answer.action} {answer.score:g}/{answer.required:g}"
    if heavy := [name for name, score in answer.symbols[:8] if score]:
        reason += f" ({', '.join(heavy)})"
    match config.measures.get(answer.action, "score"):
        case "reject":
            return reject(answer.text or "message was judged to be spam", reason=reason)
        case "defer":
            return defer(answer.text or "try again later", reason=reason)
        case "quarantine":
            return quarantine(reason)
        case "discard":
            return discard(reason)
        case "score":
            return add_score(answer.score, reason) if answer.score else None
        case "ignore":
            return None


def judge_unchecked(size: int, config: RspamdConfig) -> Verdict | None:
    """The third verdict, with a policy of its own: what nobody looked at is not clean."""
    reason = f"rspamd: not checked, {size} octets are more than {config.max_size}"
    match config.too_large:
        case "quarantine":
            return quarantine(reason)
        case "reject":
            return reject("message is too large to be checked", code=552, enhanced="5.3.4", reason=reason)
        case "accept":
            return None


def fields(answer: Answer) -> list[tuple[str, str]]:
    """(name, value) of the X-Spam fields, folded; names of symbols are checked, since rules of others make them."""
    tests = [f"{name}={score:g}" for name, score in answer.symbols[:MAX_SYMBOLS] if _NAME.match(name)]
    status = f"{'Yes' if answer.is_spam else 'No'}, score={answer.score:.2f} required={answer.required:g}"
    made = [("X-Spam-Status", f"{status}\r\n tests=[" + ",\r\n ".join(tests) + "]")]
    return [("X-Spam-Flag", "YES"), *made] if answer.is_spam else made
