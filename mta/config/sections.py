"""Every section and key of the config. Descriptions become etc/mta.yaml and docs/operators/config.md.

Sizes in octets (or "50 MiB"), times in seconds (or "5m"); see ``mta.config.units``.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mta.config.checks import (
    BackendUrl,
    DomainName,
    DomainOrAll,
    FilePath,
    HostName,
    ListenUrl,
    MailAddress,
    Network,
    SourceAddress,
    listed,
    plugin_table,
)
from mta.config.delivery import AnswerPattern, RetryRule, SitePattern, SiteRule
from mta.config.units import Rate, Seconds, Size
from mta_hooks.lookup import TableSource


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_defaults(cls, value: object) -> object:
        """``relay:`` with nothing behind it."""
        return {} if value is None else value


class Listener(Section):
    """One entry of ``listen``; a plain string is the same as ``{url: …}``."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    url: Annotated[
        ListenUrl,
        Field(
            description="scheme://host:port or scheme+unix:/path; schemes: smtp submission submissions lmtp imap imaps pop3 pop3s http https"
        ),
    ]
    proxy_protocol: Annotated[
        tuple[Network, ...], Field(description="Networks whose connections begin with a PROXY v1 or v2 header.")
    ] = ()

    @model_validator(mode="after")
    def _http_knows_no_proxy(self) -> "Listener":
        if self.proxy_protocol and self.url.lower().startswith("http"):
            raise ValueError("http listeners take no PROXY header: let the proxy speak plain HTTP to them")
        return self

    hide: Annotated[
        tuple[str, ...],
        Field(description="Capabilities of IMAP, EHLO and CAPA that this listener does not show, such as CONDSTORE."),
    ] = ()


class Imap(Section):
    hide: Annotated[
        tuple[str, ...], Field(description="Capabilities that no client is shown, such as CONDSTORE; they are still obeyed.")
    ] = ()
    hide_from: Annotated[
        dict[str, tuple[str, ...]], Field(description="The same by account, after its login: alice@example.org: [QRESYNC].")
    ] = {}

    comment: Annotated[str, Field(description="What clients are told of this server (METADATA /shared/comment), or nothing.")] = ""
    admin: Annotated[
        str, Field(description="Where its administrator is found, a URL as mailto:postmaster@example.org (METADATA /shared/admin).")
    ] = ""
    shared: Annotated[
        tuple[str, ...],
        Field(
            description="Accounts whose mailboxes appear below shared/ADDRESS/, not user/ADDRESS/, to those they are shared with."
        ),
    ] = ()


class Certificate(Section):
    certificate: Annotated[FilePath, Field(description="PEM file: certificate and chain.")]
    key: Annotated[FilePath, Field(description="PEM file of its private key.")]


class Tls(Section):
    certificate: Annotated[
        FilePath | None, Field(description="PEM file: certificate and chain. Absent: a self-signed pair is made for development.")
    ] = None
    key: Annotated[FilePath | None, Field(description="PEM file of the private key.")] = None
    certificates: Annotated[
        tuple[Certificate, ...],
        Field(
            description="Further pairs: a client that asks for a name in one of these certificates (SNI) is shown that one, "
            "any other client the pair above."
        ),
    ] = ()
    minimum: Annotated[Literal["TLSv1.2", "TLSv1.3"], Field(description="Oldest TLS version spoken.")] = "TLSv1.2"
    client_ca: Annotated[
        FilePath | None,
        Field(description="PEM file of the CA of client certificates. Present: clients are asked for one, and may have none."),
    ] = None

    @model_validator(mode="after")
    def _both_or_none(self) -> "Tls":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key are given together or not at all")
        return self


class Auth(Section):
    plaintext_without_tls: Annotated[bool, Field(description="Allow passwords without TLS. For tests and loopback only.")] = False
    max_failures: Annotated[int, Field(ge=1, description="Failed attempts on one connection before it is closed.")] = 3
    failure_delay: Annotated[Seconds, Field(ge=0, le=30, description="Pause before the answer to a wrong password.")] = 1.0
    mechanisms: Annotated[
        tuple[str, ...],
        Field(
            description="SASL mechanisms, in the order to show. Empty: those of plugins, PLAIN, EXTERNAL where external is set, "
            "and over SMTP LOGIN for old clients."
        ),
    ] = ()
    throttle: Annotated[bool, Field(description="Slow down who guesses passwords, by address and by account.")] = True
    throttle_exempt: Annotated[
        tuple[Network, ...],
        Field(description="Addresses that are not slowed as such, such as a webmail's; accounts still are."),
    ] = ()
    scram_keys: Annotated[
        bool,
        Field(description="Keep the keys that SCRAM needs beside the hash of each password, also when no plugin uses them yet."),
    ] = True
    end_point_binding: Annotated[
        bool,
        Field(
            description="Offer SCRAM -PLUS also where tls-server-end-point is the only channel binding, as under TLS 1.3 on a Python "
            "that cannot export keying material. Clients that insist on tls-exporter then fail."
        ),
    ] = False
    external: Annotated[
        Literal["email", "common_name"] | None,
        Field(description="Where in a client certificate (tls.client_ca) the account's address is; absent: no EXTERNAL."),
    ] = None


class HopLogin(Section):
    username: Annotated[str, Field(description="Name for AUTH.")]
    password: Annotated[str | None, Field(repr=False, description="Password: ${ENV} or file:/path.")] = None
    token_file: Annotated[
        FilePath | None, Field(description="File with an OAuth token instead (XOAUTH2), read at each login: keep it fresh.")
    ] = None

    @model_validator(mode="after")
    def _one_secret(self) -> "HopLogin":
        if (self.password is None) == (self.token_file is None):
            raise ValueError("give a password or a token_file, not both")
        return self


class Relay(Section):
    networks: Annotated[tuple[Network, ...], Field(description="Clients that may send to any domain without authentication.")] = ()
    smarthost: Annotated[
        str | None, Field(description="Next hop for all remote mail: smtp://host:port, smtps://host:port, mx:domain.")
    ] = None
    username: Annotated[str | None, Field(description="Name for AUTH at the smarthost.")] = None
    password: Annotated[str | None, Field(repr=False, description="Password for AUTH at the smarthost: ${ENV} or file:/path.")] = (
        None
    )
    tls: Annotated[
        Literal["none", "may", "encrypt"],
        Field(description="STARTTLS at the smarthost: may is opportunistic, encrypt insists and verifies."),
    ] = "may"
    credentials: Annotated[
        dict[str, HopLogin], Field(description="Logins at next hops that routes name, by host or host:port; for the smarthost too.")
    ] = {}


class Smtp(Section):
    greeting_delay: Annotated[
        Seconds,
        Field(
            ge=0,
            le=60,
            description="Wait before the greeting on port 25; who speaks before it is refused. Relay networks do not wait.",
        ),
    ] = 0.0
    error_delay: Annotated[
        Seconds,
        Field(
            ge=0,
            le=60,
            description="Pause before each answer to an unknown recipient, from the sixth on: addresses are not harvested.",
        ),
    ] = 1.0
    header_faults: Annotated[
        Literal["refuse", "accept"],
        Field(
            description="Mail from outside with several From, Sender, Date or Message-ID fields, or several addresses in From, which readers "
            "show differently."
        ),
    ] = "refuse"
    deliver_by_minimum: Annotated[
        Seconds, Field(ge=0, description="Least time of a BY=…;R that is accepted, offered as DELIVERBY (RFC 2852).")
    ] = 60.0
    future_release: Annotated[
        Seconds,
        Field(
            ge=0,
            le=365 * 86400,
            description="Longest time for which users may have a message held (FUTURERELEASE); 0: not offered.",
        ),
    ] = 30 * 86400.0
    etrn: Annotated[tuple[DomainName, ...], Field(description="Domains whose waiting mail ETRN starts; anybody may ask.")] = ()
    xclient: Annotated[
        tuple[Network, ...], Field(description="Proxies and filters that may say for whom they speak, with XCLIENT and XFORWARD.")
    ] = ()


class Submission(Section):
    sender_check: Annotated[
        Literal["own", "none"],
        Field(description="own: a user sends as himself, as an alias of his, or as senders say; none: as anybody."),
    ] = "own"
    from_check: Annotated[
        Literal["own", "none"],
        Field(description="The same for the addresses in the fields From and Sender."),
    ] = "own"
    senders: Annotated[
        dict[str, tuple[str, ...]],
        Field(description="Who may send as whom, beside that: sales@example.org: [alice@example.org], or '@example.org': [...]."),
    ] = {}
    strip_bcc: Annotated[bool, Field(description="Take Bcc fields out of submitted mail.")] = False


class Limits(Section):
    message_size: Annotated[Size, Field(ge=65536, description="Largest message, advertised as SIZE (RFC 1870).")] = 50 * 2**20
    recipients: Annotated[
        int, Field(ge=100, le=100_000, description="Recipients of one transaction (RFC 5321 §4.5.3.1.8: at least 100).")
    ] = 1000
    connections: Annotated[int, Field(ge=1, description="Connections of all protocols in one worker.")] = 10_000
    connections_per_client: Annotated[
        int,
        Field(
            ge=1,
            description="SMTP connections, and HTTP ones, from one address (SMTP: or IPv6 /64) in one worker; relay networks are exempt.",
        ),
    ] = 50
    errors: Annotated[int, Field(ge=1, description="Refused commands on one connection before it is closed.")] = 20
    command_timeout: Annotated[Seconds, Field(ge=1, description="Longest wait for a command (RFC 5321 §4.5.3.2.7: 5 minutes).")] = (
        300.0
    )
    data_timeout: Annotated[Seconds, Field(ge=1, description="Longest wait for the next piece of a message.")] = 180.0
    transaction_timeout: Annotated[Seconds, Field(ge=10, description="Longest time for one message from DATA to its end.")] = 3600.0
    data_rate: Annotated[
        int,
        Field(
            ge=0,
            le=10**6,
            description="Octets a second that a message has to come with at least, counted from its sixth minute on.",
        ),
    ] = 100
    received: Annotated[int, Field(ge=10, le=200, description="Received lines above which a message loops.")] = 50
    memory_per_message: Annotated[
        Size, Field(ge=65536, description="Octets of one message kept in memory before it goes to a file.")
    ] = 2**20
    imap_idle_timeout: Annotated[
        Seconds, Field(ge=60, description="Longest silence of an IMAP client (RFC 9051 §5.4: at least 30 minutes).")
    ] = 1800.0
    imap_messages: Annotated[
        int,
        Field(
            ge=0,
            description="Messages for which one IMAP command is done at most (MESSAGELIMIT, RFC 9738: 1000 or more); 0: any number. "
            "Clients that do not know it get less than they asked for.",
        ),
    ] = 0
    pop3_idle_timeout: Annotated[
        Seconds, Field(ge=60, description="Longest silence of a POP3 client (RFC 1939 §3: at least 10 minutes).")
    ] = 600.0


class QueueRates(Section):
    destination: Annotated[
        Rate | None, Field(gt=0, description="Transactions to one destination, such as 100/m. Absent: as fast as it takes them.")
    ] = None
    sender: Annotated[
        Rate | None, Field(gt=0, description="Transactions for one account, or envelope sender without one, such as 2000/h.")
    ] = None


class QueueSection(Section):
    retry: Annotated[tuple[Seconds, ...], Field(min_length=1, description="Waits between attempts; the last repeats.")] = (
        60.0,
        300.0,
        900.0,
        1800.0,
        3600.0,
        7200.0,
        14400.0,
    )
    jitter: Annotated[float, Field(ge=0, le=0.5, description="Share by which each wait varies at random.")] = 0.1
    lifetime: Annotated[Seconds, Field(ge=60, description="After this, and at least three attempts, a recipient bounces.")] = (
        5 * 86400.0
    )
    delay_warning: Annotated[Seconds, Field(ge=0, description="A delay notice after this, once; 0: never.")] = 4 * 3600.0
    concurrency: Annotated[int, Field(ge=1, le=1000, description="Connections to all destinations together.")] = 100
    concurrency_per_destination: Annotated[int, Field(ge=1, le=100, description="Connections to one destination.")] = 20
    concurrency_per_sender: Annotated[
        int | None,
        Field(
            ge=1,
            le=1000,
            description="Deliveries to other servers that run at once for one account, or envelope sender without one. Absent: no bound.",
        ),
    ] = None
    connect_timeout: Annotated[Seconds, Field(ge=1, description="Longest wait for a connection.")] = 30.0
    double_bounce: Annotated[
        MailAddress | None,
        Field(
            description="Who is told of what fails and has no sender to tell, such as postmaster@example.org. Absent: nobody, it is logged."
        ),
    ] = None
    rates: Annotated[QueueRates, Field(description="How much goes out in a time.")] = QueueRates()
    sites: Annotated[
        dict[SitePattern, SiteRule],
        Field(
            description="By domain, or name of a mail server (example.net, *.google.com): concurrency and rate, shared by all that the "
            "pattern names; retry, lifetime, delay_warning."
        ),
    ] = {}
    answers: Annotated[
        dict[AnswerPattern, RetryRule],
        Field(description="By temporary answer (451, 4.7.1, 4.4): retry, lifetime, delay_warning; before those of sites."),
    ] = {}


class OutboundSection(Section):
    source_addresses: Annotated[
        tuple[SourceAddress, ...],
        Field(
            description="Addresses of this machine to connect from, by turns; of each family those of it. Empty: as the system chooses."
        ),
    ] = ()
    sources_by_domain: Annotated[
        dict[SitePattern, Annotated[tuple[SourceAddress, ...], Field(min_length=1)]],
        Field(
            description="Such addresses for mail to these domains alone (a name, *.name, *), and no others. Before sources_by_sender and source_addresses."
        ),
    ] = {}
    sources_by_sender: Annotated[
        dict[str, Annotated[tuple[SourceAddress, ...], Field(min_length=1)]],
        Field(description="The same by the envelope sender's address or domain ('<>': the null sender)."),
    ] = {}
    helo: Annotated[
        dict[SourceAddress, HostName],
        Field(description="Name in EHLO by the address that a connection comes from. Others: hostname."),
    ] = {}
    greeting_timeout: Annotated[
        Seconds, Field(ge=1, description="Longest wait for the greeting of a next hop (RFC 5321 §4.5.3.2.1: 5 minutes).")
    ] = 300.0


class Spam(Section):
    junk: Annotated[float, Field(description="Score from which a message goes to Junk.")] = 5.0
    reject: Annotated[float, Field(description="Score from which a message is refused.")] = 15.0
    mixed_verdict: Annotated[
        Literal["quarantine", "discard", "accept_tagged"],
        Field(
            description="What becomes of a message for a recipient who may not have it when the client has one reply for all "
            "and others may. accept_tagged: in the inbox, with the keyword $Junk."
        ),
    ] = "quarantine"


class Dns(Section):
    servers: Annotated[tuple[str, ...], Field(description="Resolvers as address or address:port; empty: /etc/resolv.conf.")] = ()
    timeout: Annotated[Seconds, Field(gt=0, le=60, description="Longest wait for one look-up.")] = 5.0
    validating: Annotated[
        bool,
        Field(
            description="The resolvers validate DNSSEC and nobody can forge their answers on the way (on this machine, or behind a "
            "tunnel): what they say is signed (AD) is believed. For DANE and REQUIRETLS."
        ),
    ] = False


class LogSection(Section):
    level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="Least severity written.")] = "info"
    format: Annotated[Literal["text", "json"], Field(description="text: key=value lines; json: one object a line.")] = "text"
    file: Annotated[FilePath | None, Field(description="Absent: standard error.")] = None


class Quota(Section):
    warn: Annotated[
        tuple[Annotated[int, Field(ge=1, le=99)], ...],
        Field(description="Percentages of an account's quota at which its owner is sent mail, once each time they are reached."),
    ] = (80, 95)


class Storage(Section):
    mailboxes: Annotated[
        str,
        Field(
            description="Where mailboxes are. database: in it. Else a URL that a plugin offers, as maildir:/srv/mail/%d/%n (mta_maildir)."
        ),
    ] = "database"
    undelete_days: Annotated[float, Field(ge=0, description="Days that expunged messages can be restored.")] = 14.0
    reserve: Annotated[Size, Field(ge=0, description="Free disk below which new mail is refused for now.")] = 32 * 2**20
    blobs: Annotated[
        tuple[BackendUrl, ...],
        BeforeValidator(listed),
        Field(
            description="Where bodies of 256 KiB and more go: scheme:… of plugins, the first for new ones, all for reading. "
            "Empty: file: (files in data_dir/blobs, which are always read)."
        ),
    ] = ()
    search: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9+.-]*(:.*)?$",
            description="Full-text index: sql (the database's own), none, or scheme:… of a plugin.",
        ),
    ] = "sql"


class Trace(Section):
    keep: Annotated[Seconds, Field(ge=3600, description="How long it is known what became of a message that was accepted.")] = (
        30 * 86400.0
    )
    refused_keep: Annotated[Seconds, Field(ge=0, description="How long what was refused or deferred is known.")] = 7 * 86400.0
    refused_most: Annotated[
        int, Field(ge=0, le=10_000_000, description="Records of refusals kept at most; the oldest go first. About 1 KiB each.")
    ] = 100_000


class HooksSection(Section):
    stall: Annotated[Seconds, Field(ge=0.01, le=10, description="Longest stall of the event loop not held against a plugin.")] = (
        0.05
    )
    stalls: Annotated[
        int,
        Field(ge=1, le=1000, description="Stalls after which a plugin's def functions run in threads, and its async ones pause."),
    ] = 3
    errors: Annotated[
        int, Field(ge=1, le=1000, description="Errors in a row, within a minute, after which a plugin is not called for a while.")
    ] = 5
    pause: Annotated[Seconds, Field(ge=1, le=3600, description="How long it is then not called; on_error answers for it.")] = 30.0
    hold_after: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="Attempts in a row failed by one hook's errors, after which a message goes to the error hold.",
        ),
    ] = 3


class Http(Section):
    admin_token: Annotated[
        str | None,
        Field(
            min_length=16,
            pattern=r"^[!-~]*$",
            repr=False,
            description="Bearer token of the administrator, at least 16 characters: ${ENV} or file:/path. Absent: only by the Unix socket.",
        ),
    ] = None
    header_size: Annotated[Size, Field(ge=4096, le=2**20, description="Octets of a request's line and header together.")] = 16384
    body_size: Annotated[Size, Field(ge=1024, le=2**30, description="Octets of a request's body.")] = 2**20
    header_timeout: Annotated[Seconds, Field(ge=1, le=300, description="Longest time for a request's line and header.")] = 10.0
    body_timeout: Annotated[Seconds, Field(ge=1, le=3600, description="Longest time for a request's body.")] = 60.0
    idle_timeout: Annotated[Seconds, Field(ge=1, le=3600, description="Longest wait for the next request on a connection.")] = 30.0
    send_timeout: Annotated[
        Seconds, Field(ge=1, le=3600, description="Longest time in which a client takes nothing of an answer.")
    ] = 30.0


class Config(Section):
    """The whole file."""

    hostname: Annotated[
        HostName, Field(description="Name in greetings, EHLO, Received and Message-ID. Default: the machine's.")
    ] = ""
    data_dir: Annotated[FilePath, Field(description="Database, large bodies, maildrop, sockets. Relative: to the config file.")] = (
        "./var"
    )
    database: Annotated[str, Field(description="sqlite (a file in data_dir) or postgresql://user@host/name.")] = "sqlite"
    postmaster: Annotated[
        MailAddress | None,
        Field(
            description="Who gets mail for postmaster of a domain that has none: RFC 5321 §4.5.1 wants it taken. Absent: refused there."
        ),
    ] = None
    directory: Annotated[
        tuple[BackendUrl, ...],
        BeforeValidator(listed),
        Field(description="More accounts than the database's own, which are asked first: scheme:… of plugins, in order."),
    ] = ()
    listen: Annotated[tuple[Listener, ...], Field(description="What to serve where.")] = ()
    tls: Annotated[Tls, Field(description="Certificate for STARTTLS and the TLS ports.")] = Tls()
    auth: Annotated[Auth, Field(description="Passwords.")] = Auth()
    imap: Annotated[Imap, Field(description="What IMAP clients see.")] = Imap()
    relay: Annotated[Relay, Field(description="Who may send through us, and by which next hop.")] = Relay()
    routes: Annotated[
        dict[str, str],
        Field(
            description="Next hop by domain, before MX: smtp://host:port smtps://host:port lmtp://host:port lmtp+unix:/path smtp+unix:/path, "
            "pipe:NAME (a program in hooks_dir/pipe.d), mx:DOMAIN (the mail servers of another domain), or mx."
        ),
    ] = {}
    routes_by_sender: Annotated[
        dict[str, str],
        Field(
            description="Next hop by the envelope sender's address or domain ('<>': the null sender), after routes, before the smarthost."
        ),
    ] = {}
    tls_policies: Annotated[
        dict[DomainOrAll, Literal["none", "may", "require", "encrypt", "dane"]],
        Field(
            description="TLS by domain of the recipient, or by the host that a route names; '*': every other domain. may: where it works; "
            "require: any certificate; encrypt: a good one for the host; dane: as its TLSA records say (plugin dane). Before plugins."
        ),
    ] = {}
    tables: Annotated[
        dict[str, TableSource],
        Field(
            description="Tables by name, for plugins: keys and values, type:argument (hash:/path, regexp:/path, cidr:/path, sql:SELECT …), "
            "or a list of these."
        ),
    ] = {}
    domains: Annotated[tuple[DomainName, ...], Field(description="Domains of ours, beside those added by command.")] = ()
    workers: Annotated[
        Annotated[int, Field(ge=1, le=64)] | Literal["auto"], Field(description="Processes; auto: one for each core, at most 8.")
    ] = "auto"
    drain: Annotated[Seconds, Field(ge=0, le=3600, description="Longest wait for busy sessions when stopping or reloading.")] = 30.0
    user: Annotated[str, Field(description="Account to become after binding ports when started as root.")] = "mta"
    hooks_dir: Annotated[FilePath | None, Field(description="Folder of drop-in hooks.")] = None
    hooks: Annotated[HooksSection, Field(description="What plugins may do to the server.")] = HooksSection()
    order: Annotated[
        dict[str, Any],
        Field(
            description="Order of plugins by hook, before what plugins and the list below say: [spf, '*', rspamd] or {greylist: {after: spf}}."
        ),
    ] = {}
    smtp: Annotated[Smtp, Field(description="Incoming mail.")] = Smtp()
    submission: Annotated[Submission, Field(description="Mail of users and of local programs.")] = Submission()
    limits: Annotated[Limits, Field(description="Bounds of everything a peer can grow.")] = Limits()
    http: Annotated[Http, Field(description="Requests over HTTP: bounds, and the administrator's token.")] = Http()
    queue: Annotated[QueueSection, Field(description="Retries and concurrency.")] = QueueSection()
    outbound: Annotated[OutboundSection, Field(description="Connections to others.")] = OutboundSection()
    spam: Annotated[Spam, Field(description="What becomes of the sum of scores.")] = Spam()
    dns: Annotated[Dns, Field(description="Resolvers.")] = Dns()
    log: Annotated[LogSection, Field(description="Where and how to log.")] = LogSection()
    quota: Annotated[Quota, Field(description="Accounts that fill up; limits are set by mta user quota.")] = Quota()
    storage: Annotated[Storage, Field(description="Disk.")] = Storage()
    trace: Annotated[Trace, Field(description="What mta trace remembers.")] = Trace()
    plugins: Annotated[
        dict[str, dict[str, Any]],
        BeforeValidator(plugin_table),
        Field(description="Plugins to run, in order, each with its own config."),
    ] = {"sql": {}}
