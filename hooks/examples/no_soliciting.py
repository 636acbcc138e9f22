"""Advertisers that say so are turned away (RFC 3865): EHLO announces NO-SOLICITING, MAIL may carry SOLICIT=, the header Solicitation:.

Copy into ``hooks_dir``. With ``config: {refused: [net.example:ADV]}`` in no_soliciting.yaml these keywords are refused instead.
"""
# SPDX-License-Identifier: Apache-2.0

import re

from mta_hooks import hookimpl, reject

KEYWORD = r"[a-z0-9.-]+(?::[a-z0-9._-]+)+"
KEYWORDS = re.compile(f"{KEYWORD}(?:,{KEYWORD})*", re.IGNORECASE)


def keywords_problem(value):
    return None if value is not None and KEYWORDS.fullmatch(value) else "SOLICIT takes keywords such as org.example:ADV:ADLT"


@hookimpl
def register(registry):
    registry.capability("smtp", "NO-SOLICITING", mail={"SOLICIT": keywords_problem})


@hookimpl
def smtp_mail(params, ctx):
    return judge(params.get("SOLICIT"), ctx)


@hookimpl
def message_headers(headers, ctx):
    return judge(",".join(value for name, value in headers if name.lower() == "solicitation"), ctx)


def judge(said, ctx):
    refused = {keyword.lower() for keyword in ctx.config.get("refused", ["org.example:ADV", "org.example:ADV:ADLT"])}
    if refused & {keyword.strip().lower() for keyword in (said or "").split(",")}:
        return reject("no solicitations here", code=550, enhanced="5.7.1")
    return None
