"""Writes docs/standards.md: every RFC that the code obeys, its sections, and the files that name them.

Run by ``make docs``; a test compares. An RFC that the register below does not know is an error: a mistyped number would else
look like a standard.
"""
# SPDX-License-Identifier: Apache-2.0

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "standards.md"
REFERENCE = re.compile(r"RFC ([0-9]{3,5})((?:,? (?:and )?§[0-9A-Z]+(?:\.[0-9]+)*)*)")
SECTION = re.compile(r"§([0-9A-Z]+(?:\.[0-9]+)*)")

TITLES = {
    822: "Standard for the Format of ARPA Internet Text Messages",
    1035: "Domain Names: Implementation and Specification",
    1428: "Transition of Internet Mail from Just-Send-8 to 8bit-SMTP/MIME",
    1847: "Security Multiparts for MIME: Multipart/Signed and Multipart/Encrypted",
    1870: "SMTP Service Extension for Message Size Declaration",
    1918: "Address Allocation for Private Internets",
    1939: "Post Office Protocol - Version 3",
    1985: "SMTP Service Extension for Remote Message Queue Starting",
    2033: "Local Mail Transfer Protocol",
    2034: "SMTP Service Extension for Returning Enhanced Error Codes",
    2045: "MIME Part One: Format of Internet Message Bodies",
    2046: "MIME Part Two: Media Types",
    2047: "MIME Part Three: Message Header Extensions for Non-ASCII Text",
    2086: "IMAP4 ACL extension (1997)",
    2087: "IMAP4 QUOTA extension (1997)",
    2104: "HMAC: Keyed-Hashing for Message Authentication",
    2142: "Mailbox Names for Common Services, Roles and Functions",
    2177: "IMAP4 IDLE command",
    2183: "The Content-Disposition Header Field",
    2231: "MIME Parameter Value and Encoded Word Extensions",
    2277: "IETF Policy on Character Sets and Languages",
    2308: "Negative Caching of DNS Queries",
    2342: "IMAP4 Namespace",
    2449: "POP3 Extension Mechanism",
    2554: "SMTP Service Extension for Authentication (1999)",
    2595: "Using TLS with IMAP, POP3 and ACAP",
    2822: "Internet Message Format (2001)",
    2852: "Deliver By SMTP Service Extension",
    2920: "SMTP Service Extension for Command Pipelining",
    2971: "IMAP4 ID extension",
    2978: "IANA Charset Registration Procedures",
    3030: "SMTP Service Extensions for Transmission of Large and Binary MIME Messages",
    3206: "The SYS and AUTH POP Response Codes",
    3207: "SMTP Service Extension for Secure SMTP over TLS",
    3282: "Content Language Headers",
    3339: "Date and Time on the Internet: Timestamps",
    3454: "Preparation of Internationalized Strings (stringprep)",
    3461: "SMTP Service Extension for Delivery Status Notifications",
    3463: "Enhanced Mail System Status Codes",
    3464: "An Extensible Message Format for Delivery Status Notifications",
    3501: "IMAP - Version 4rev1",
    3502: "IMAP MULTIAPPEND Extension",
    3516: "IMAP4 Binary Content Extension",
    3691: "IMAP UNSELECT command",
    3834: "Recommendations for Automatic Responses to Electronic Mail",
    3848: "ESMTP and LMTP Transmission Types Registration",
    4013: "SASLprep: Stringprep Profile for User Names and Passwords",
    4035: "Protocol Modifications for the DNS Security Extensions",
    4155: "The application/mbox Media Type",
    4193: "Unique Local IPv6 Unicast Addresses",
    4291: "IP Version 6 Addressing Architecture",
    4314: "IMAP4 Access Control List (ACL) Extension",
    4315: "IMAP UIDPLUS extension",
    4408: "Sender Policy Framework, Version 1 (2006)",
    4422: "Simple Authentication and Security Layer (SASL)",
    4467: "IMAP URLAUTH Extension",
    4469: "IMAP CATENATE Extension",
    4616: "The PLAIN SASL Mechanism",
    4647: "Matching of Language Tags",
    4648: "The Base16, Base32, and Base64 Data Encodings",
    4731: "IMAP4 Extension to SEARCH for Controlling What Is Returned",
    4865: "SMTP Submission Service Extension for Future Message Release",
    4954: "SMTP Service Extension for Authentication",
    4959: "IMAP Extension for SASL Initial Client Response",
    4978: "The IMAP COMPRESS Extension",
    5032: "WITHIN Search Extension to the IMAP Protocol",
    5034: "The POP3 SASL Authentication Mechanism",
    5051: "i;unicode-casemap - Simple Unicode Collation Algorithm",
    5077: "TLS Session Resumption without Server-Side State",
    5092: "IMAP URL Scheme",
    5161: "The IMAP ENABLE Extension",
    5182: "IMAP Extension for Referencing the Last SEARCH Result",
    5233: "Sieve Email Filtering: Subaddress Extension",
    5234: "Augmented BNF for Syntax Specifications",
    5248: "A Registry for SMTP Enhanced Mail System Status Codes",
    5255: "Internet Message Access Protocol Internationalization",
    5256: "IMAP - SORT and THREAD Extensions",
    5258: "IMAP4 LIST Command Extensions",
    5267: "Contexts for IMAP4",
    5321: "Simple Mail Transfer Protocol",
    5322: "Internet Message Format",
    5423: "Internet Message Store Events",
    5464: "The IMAP METADATA Extension",
    5465: "The IMAP NOTIFY Extension",
    5466: "IMAP4 Extension for Named Searches (Filters)",
    5530: "IMAP Response Codes",
    5550: "The Internet Email to Support Diverse Service Environments (Lemonade) Profile",
    5782: "DNS Blacklists and Whitelists",
    5802: "Salted Challenge Response Authentication Mechanism (SCRAM)",
    5803: "LDAP Schema for Storing SCRAM Secrets",
    5819: "IMAP4 Extension for Returning STATUS Information in Extended LIST",
    5890: "Internationalized Domain Names for Applications: Definitions",
    5891: "Internationalized Domain Names in Applications (IDNA): Protocol",
    5929: "Channel Bindings for TLS",
    5957: "Display-Based Address Sorting for the IMAP4 SORT Extension",
    5965: "An Extensible Format for Email Feedback Reports",
    6008: "Authentication-Results Registration for Differentiating among Cryptographic Results",
    6066: "TLS Extensions: Extension Definitions",
    6125: "Service Identity in TLS (2011)",
    6152: "SMTP Service Extension for 8-bit MIME Transport",
    6154: "IMAP LIST Extension for Special-Use Mailboxes",
    6203: "IMAP4 Extension for Fuzzy Search",
    6186: "Use of SRV Records for Locating Email Submission/Access Services",
    6376: "DomainKeys Identified Mail (DKIM) Signatures",
    6409: "Message Submission for Mail",
    6522: "The Multipart/Report Media Type",
    6531: "SMTP Extension for Internationalized Email",
    6532: "Internationalized Email Headers",
    6533: "Internationalized Delivery Status and Disposition Notifications",
    6591: "Authentication Failure Reporting Using the Abuse Reporting Format",
    6598: "Shared Address Space",
    6647: "Email Greylisting",
    6652: "SPF Authentication Failure Reporting",
    6698: "The DNS-Based Authentication of Named Entities (DANE) TLSA Protocol",
    6710: "SMTP Extension for Message Transfer Priorities",
    6749: "The OAuth 2.0 Authorization Framework",
    6750: "The OAuth 2.0 Authorization Framework: Bearer Token Usage",
    6758: "Tunneling of SMTP Message Transfer Priorities",
    6840: "Clarifications and Implementation Notes for DNS Security (DNSSEC)",
    6851: "IMAP MOVE Extension",
    6855: "IMAP Support for UTF-8 (2013)",
    6856: "POP3 Support for UTF-8",
    6891: "Extension Mechanisms for DNS (EDNS(0))",
    7001: "Authentication-Results (2013)",
    7162: "IMAP CONDSTORE and QRESYNC",
    7208: "Sender Policy Framework (SPF)",
    7235: "HTTP Authentication",
    7301: "TLS Application-Layer Protocol Negotiation (ALPN)",
    7377: "IMAP4 Multimailbox SEARCH Extension",
    7372: "Email Authentication Status Codes",
    7435: "Opportunistic Security: Some Protection Most of the Time",
    7504: "SMTP 521 and 556 Reply Codes",
    7505: "A Null MX No Service Resource Record",
    7515: "JSON Web Signature (JWS)",
    7517: "JSON Web Key (JWK)",
    7518: "JSON Web Algorithms (JWA)",
    7519: "JSON Web Token (JWT)",
    7617: "The 'Basic' HTTP Authentication Scheme",
    7628: "SASL Mechanisms for OAuth",
    7662: "OAuth 2.0 Token Introspection",
    7671: "The DNS-Based Authentication of Named Entities (DANE) Protocol: Updates and Operational Guidance",
    7672: "SMTP Security via Opportunistic DANE TLS",
    7677: "SCRAM-SHA-256 and SCRAM-SHA-256-PLUS",
    7889: "The IMAP APPENDLIMIT Extension",
    7888: "IMAP4 Non-synchronizing Literals",
    8037: "CFRG Curves and Signatures in JOSE",
    8301: "Cryptographic Algorithm and Key Usage Update to DKIM",
    8305: "Happy Eyeballs Version 2",
    8314: "Cleartext Considered Obsolete",
    8414: "OAuth 2.0 Authorization Server Metadata",
    8437: "IMAP UNAUTHENTICATE Extension for Connection Reuse",
    8438: "IMAP Extension for STATUS=SIZE",
    8474: "IMAP Extension for Object Identifiers",
    8446: "The Transport Layer Security (TLS) Protocol Version 1.3",
    8460: "SMTP TLS Reporting",
    8461: "SMTP MTA Strict Transport Security (MTA-STS)",
    8508: "IMAP REPLACE Extension",
    8514: "IMAP - SAVEDATE",
    8463: "A New Cryptographic Signature Method for DKIM",
    8601: "Message Header Field for Indicating Message Authentication Status",
    8616: "Email Authentication for Internationalized Mail",
    8689: "SMTP Require TLS Option",
    8725: "JSON Web Token Best Current Practices",
    8970: "IMAP4 Extension: Message Preview Generation",
    9051: "IMAP - Version 4rev2",
    9068: "JSON Web Token Profile for OAuth 2.0 Access Tokens",
    9106: "Argon2 Memory-Hard Function",
    9110: "HTTP Semantics",
    9112: "HTTP/1.1",
    9208: "IMAP QUOTA Extension",
    9266: "Channel Bindings for TLS 1.3",
    9325: "Recommendations for Secure Use of TLS",
    9394: "IMAP PARTIAL Extension for Paged SEARCH and FETCH",
    9422: "The LIMITS SMTP Service Extension",
    9585: "IMAP Response Code for Command Progress Notifications",
    9586: "IMAP Extension for Using and Returning UIDs Only",
    9590: "IMAP Extension for Returning Mailbox METADATA in Extended LIST",
    9738: "IMAP MESSAGELIMIT Extension",
    9755: "IMAP Support for UTF-8",
    10022: "IMAP UIDBATCHES Extension",
    9525: "Service Identity in TLS",
}


LEFT_OUT = {
    5257: (
        "Internet Message Access Protocol - ANNOTATE Extension",
        (
            "Experimental; annotations of single messages. No client in use speaks it, keywords (`$Label1`) and METADATA serve what it was for, and it would add "
            "a table to every FETCH, COPY and expunge."
        ),
    ),
    5259: (
        "Internet Message Access Protocol - CONVERT Extension",
        (
            "The server would decode and re-encode images, documents and sound that strangers sent: a large attack surface inside the mail server for what every "
            "client does by itself. No client in use asks for it."
        ),
    ),
}
"""Standards of our field that we know and do not obey, and why."""


def collect() -> dict[int, dict[str, set[str]]]:
    """RFC -> section ("" for the whole) -> files."""
    found: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for shelf in ("mta", "hooks/mta_hooks", "plugins"):
        for path in sorted((ROOT / shelf).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for match in REFERENCE.finditer(path.read_text(encoding="utf-8")):
                for section in SECTION.findall(match[2]) or [""]:
                    found[int(match[1])][section].add(name)
    return found


def _order(section: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdigit() else (10_000, part) for part in section.split("."))


def render() -> str:
    lines = [
        "# Standards",
        "",
        "What the code obeys, section by section, and where. Generated by `tools/rfc_index.py` from the references in the code (`RFC 5321 §4.5.3.1.10`); what we do differently and why",
        "is in [quirks.md](quirks.md).",
        "",
    ]
    for number, sections in sorted(collect().items()):
        if number not in TITLES:
            sys.exit(f"RFC {number} is not in the register of tools/rfc_index.py: {sorted(set().union(*sections.values()))}")
        lines += [f"## RFC {number}: {TITLES[number]}", ""]
        for section, files in sorted(sections.items(), key=lambda item: _order(item[0])):
            where = ", ".join(f"`{file}`" for file in sorted(files))
            lines.append(f"- {f'§{section}' if section else 'as a whole'}: {where}")
        lines.append("")
    lines += ["## Left out", ""]
    lines += [f"- RFC {number}, {title}. {reason}" for number, (title, reason) in sorted(LEFT_OUT.items())]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
