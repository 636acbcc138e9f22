"""What the server counts: every metric of the engine is declared here, with its help text and labels (docs/operators/metrics.md).

Each worker counts for itself, in plain attributes: ``ACCEPTED["smtp"].value += 1`` is a look-up and an addition, without a
lock, in the event loop's thread only. A label has few values, fixed by the code; an address or an id never is one. Once a
second the worker publishes all of them (``mta.app.live``), which adds up the workers.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator
from dataclasses import dataclass

from mta_hooks.metrics import SECONDS, Histogram, Kind, Metric


class Cell:
    """One number."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric. ``labels``: their names, in the order in which ``Family`` is asked for their values."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


DECLARED: dict[str, Declared] = {}
"""All of the engine's, by name."""

Key = str | tuple[str, ...]


class Family(dict[Key, Cell]):
    """The cells of one counter or gauge by the value of its label, or by the tuple of the values; made when first asked for."""

    def __init__(self, declared: Declared) -> None:
        super().__init__()
        self.declared = declared

    def __missing__(self, key: Key) -> Cell:
        cell = self[key] = Cell()
        return cell

    def samples(self) -> Iterator[Metric]:
        about = self.declared
        for key, cell in self.items():
            values = (key,) if isinstance(key, str) else key
            yield Metric(about.name, cell.value, about.kind, about.help, dict(zip(about.labels, values, strict=True)))


_FAMILIES: list[Family] = []
_HISTOGRAMS: list[tuple[Declared, Histogram]] = []


def _declare(name: str, kind: Kind, help: str, labels: tuple[str, ...]) -> Declared:
    declared = DECLARED[name] = Declared(name, kind, help, labels)
    return declared


def _counter(name: str, help: str, *labels: str) -> Family:
    _FAMILIES.append(Family(_declare(name, "counter", help, labels)))
    return _FAMILIES[-1]


def _gauge(name: str, help: str, *labels: str) -> Family:
    _FAMILIES.append(Family(_declare(name, "gauge", help, labels)))
    return _FAMILIES[-1]


def _histogram(name: str, help: str, bounds: tuple[float, ...] = SECONDS) -> Histogram:
    histogram = Histogram(bounds)
    _HISTOGRAMS.append((_declare(name, "histogram", help, ()), histogram))
    return histogram


# ---- connections and logins

CONNECTIONS = _counter("mta_connections_total", "Connections that were accepted.", "protocol")
OPEN = _gauge("mta_connections", "Connections that are open.", "protocol")
HANDSHAKES_FAILED = _counter(
    "mta_tls_handshakes_failed_total", "TLS handshakes on ports with implicit TLS that failed.", "protocol"
)
LOGINS = _counter(
    "mta_logins_total", "Logins: ok, failed, refused (by a plugin), unavailable (could not be checked).", "protocol", "result"
)

# ---- mail in

RECIPIENTS = _counter("mta_recipients_total", "Answers to RCPT: accepted, refused (5xx), deferred (4xx).", "result")
MESSAGES = _counter("mta_messages_total", "Messages by door: accepted, refused (5xx), deferred (4xx).", "origin", "result")
OCTETS = _counter("mta_message_octets_total", "Octets of accepted messages, as received.", "origin")
ACCEPTING = _histogram("mta_accept_seconds", "From the end of a message to the answer: hooks, and the durable commit.")

# ---- mail out

DELIVERIES = _counter(
    "mta_deliveries_total",
    "What came of recipients in the queue: delivered, relayed, deferred, failed, expanded, discarded, held.",
    "transport",
    "result",
)
POSTPONED = _counter(
    "mta_queue_postponed_total",
    "Recipients put back into the queue until their turn: for a rate, a slow destination that their sender fills (slow), or their "
    "sender's concurrency (sender).",
    "for",
)
QUEUE = _gauge(
    "mta_queue_recipients",
    "Recipients in the queue: due, waiting (deferred), leased (at work), held, error (held for a plugin's), quarantine.",
    "state",
)
OUTBOX = _gauge("mta_notifications", "Durable notifications of plugins: waiting, dead (given up).", "state")
DELAY = _histogram(
    "mta_delivery_delay_seconds",
    "From acceptance until a recipient in the queue was delivered or relayed.",
    (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 432000.0),
)

# ---- HTTP

REQUESTS = _counter("mta_http_requests_total", "HTTP requests by class of their status: 2xx, 3xx, 4xx, 5xx.", "status")

# ---- plugins; filled from the host's own counters when a snapshot is taken

HOOK_CALLS = _declare("mta_hook_calls_total", "counter", "Calls of a plugin's hooks, jobs and routes.", ("plugin", "hook"))
HOOK_ERRORS = _declare(
    "mta_hook_errors_total", "counter", "Calls that raised, waited too long, or answered what they may not.", ("plugin", "hook")
)
HOOK_SECONDS = _declare("mta_hook_seconds_total", "counter", "Seconds in a plugin's hooks, waiting included.", ("plugin", "hook"))
SUSPENDED = _declare("mta_plugins_suspended", "gauge", "Workers in which the plugin's circuit breaker is open.", ("plugin",))

# ---- the process

LAG = _histogram("mta_loop_lag_seconds", "How late the event loop ran a timer, tried twice a second.")
WORKERS = _declare("mta_workers", "gauge", "Workers that serve.", ())
RESTARTS = _declare("mta_worker_restarts_total", "counter", "Workers that ended unasked and were started again.", ())
INFO = _declare("mta_info", "gauge", "Always 1; the version is a label.", ("version",))


def collect() -> list[Metric]:
    """Everything counted here, as it is now; what was never counted is left out."""
    found = [sample for family in _FAMILIES for sample in family.samples()]
    for declared, histogram in _HISTOGRAMS:
        found.append(histogram.metric(declared.name, help=declared.help))
    return found


def sample(declared: Declared, value: float, *labels: str) -> Metric:
    """One number of a metric that is kept elsewhere."""
    return Metric(declared.name, value, declared.kind, declared.help, dict(zip(declared.labels, labels, strict=True)))
