"""From spamd's answer to a verdict, and to the fields that readers' filters look at."""
# SPDX-License-Identifier: Apache-2.0

import re

from mta_hooks import Verdict, add_score, defer, discard, quarantine, reject
from mta_spamassassin.config import Measure, SpamassassinConfig
from mta_spamassassin.spamd import Answer

MAX_TESTS = 60
"""In the header field; the log and the trace have fewer."""
UNCHECKED = [("X-Spam-Status", "Unknown, not checked: too large")]
"""The fields of a message that was not looked at: neither spam nor not."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")


def judge(answer: Answer, spam: Measure) -> Verdict | None:
    """None when the answer weighs nothing: a score of zero would be an accept that ends the chain."""
    reason = f"spamassassin: {answer.score:g}/{answer.required:g}"
    if answer.tests:
        reason += f" ({', '.join(answer.tests[:8])})"
    match spam if answer.is_spam else "score":
        case "reject":
            return reject("message was judged to be spam", reason=reason)
        case "defer":
            return defer("try again later", reason=reason)
        case "quarantine":
            return quarantine(reason)
        case "discard":
            return discard(reason)
        case "score":
            return add_score(answer.score, reason) if answer.score else None


def judge_unchecked(size: int, config: SpamassassinConfig) -> Verdict | None:
    """The third verdict, with a policy of its own: what nobody looked at is not clean."""
    reason = f"spamassassin: not checked, {size} octets are more than {config.max_size}"
    match config.too_large:
        case "quarantine":
            return quarantine(reason)
        case "reject":
            return reject("message is too large to be checked", code=552, enhanced="5.3.4", reason=reason)
        case "accept":
            return None


def fields(answer: Answer) -> list[tuple[str, str]]:
    """(name, value) of the X-Spam fields, folded."""
    tests = ",\r\n ".join(name for name in answer.tests[:MAX_TESTS] if _NAME.match(name)) or "none"
    status = f"{'Yes' if answer.is_spam else 'No'}, score={answer.score:.1f} required={answer.required:.1f}\r\n tests={tests}"
    made = [("X-Spam-Status", status)]
    return [("X-Spam-Flag", "YES"), *made] if answer.is_spam else made
