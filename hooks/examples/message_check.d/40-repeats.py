#!/usr/bin/env python3
# mta: persistent
"""A worker that stays: the same subject from many senders within ten minutes is a campaign, and adds to the score.

Copy the folder message_check.d with this file into hooks_dir and chmod +x. The second line keeps it running: it is started with the first
message, reads one JSON object a line and answers each with one, so its table lives in memory and a call costs a tenth of a
millisecond. It needs nothing but Python: the same can be written in any language. With 40-repeats.py.yaml holding
``config: {limit: 5, score: 4}`` it is stricter. When it dies, only the message it was asked about is deferred, and another is
started. Each worker of the server has one of its own.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import sys
import time

WINDOW = 600
MOST = 10_000

seen: dict[str, dict[str, float]] = {}


def judge(args, config):
    message = args["message"]
    subject = next((value.strip().lower() for name, value in message["headers"] if name.lower() == "subject"), "")
    if not subject or args["session"]["user"]:
        return None
    now = time.monotonic()
    if len(seen) > MOST:
        seen.clear()
    senders = seen.setdefault(subject, {})
    senders[message["sender"] or ""] = now
    recent = sum(1 for at in senders.values() if now - at < WINDOW)
    if recent < config.get("limit", 20):
        return None
    return {"action": "accept", "score": config.get("score", 2.0), "reason": f"subject of {recent} senders"}


for line in sys.stdin:
    asked = json.loads(line)
    answer = {"id": asked["id"], "verdict": judge(asked["args"], asked["config"])}
    print(json.dumps(answer), flush=True)
