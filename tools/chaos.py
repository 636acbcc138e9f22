"""Kill the daemon with SIGKILL at random moments under load, many times, and check that every promise was kept.

    tools/chaos.py [--relay [--operator]] [--database sqlite|postgresql|URL] [--kills 250] [--seed N] [--workers 2] [--threads 4]

Exit status 0: every message answered 250 was in the mailbox exactly once after every restart. ``make chaos`` runs it on
both databases. With --relay, mail goes out to a next hop that fails at every step: each acknowledged message arrives or is
reported, and arrives again only where the answer to its final dot was lost. The folder of a failed run is kept and named.
"""
# SPDX-License-Identifier: Apache-2.0

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from mta.testing.chaos import ChaosResult, kill_at_random_moments
from mta.testing.chaos_relay import FailingSink, config_for, kill_while_relaying
from mta.testing.postgresql import PostgreSql
from mta.testing.server import MailServer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", action="append", help="sqlite, postgresql (a server of our own) or a URL; default: both")
    parser.add_argument("--relay", action="store_true", help="mail goes out instead of in")
    parser.add_argument(
        "--operator", action="store_true", help="with --relay: somebody holds, releases, flushes, deletes and edits meanwhile"
    )
    parser.add_argument("--kills", type=int, help="default: 250, with --relay 100")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()
    options.kills = options.kills or (100 if options.relay else 250)
    failed = False
    for database in options.database or ("sqlite", "postgresql"):
        if database == "postgresql":
            with PostgreSql() as make:
                failed |= run(make(), options)
        else:
            failed |= run(database, options)
    return int(failed)


def run(database: str, options: argparse.Namespace) -> bool:
    """One database. Returns True when a promise was broken."""
    folder = Path(tempfile.mkdtemp(prefix="mta-chaos-"))
    name = database.partition(":")[0]
    print(f"{name}: seed {options.seed}, {options.kills} kills", flush=True)
    config = {"database": database, "workers": options.workers}
    if options.relay:
        sink = FailingSink(options.seed)
        with sink.thread(), MailServer({**config, **config_for(sink)}, directory=folder) as server:
            result: ChaosResult = kill_while_relaying(
                server, sink, options.kills, seed=options.seed, threads=options.threads, operator=options.operator
            )
    else:
        with MailServer(config, directory=folder) as server:
            result = kill_at_random_moments(server, options.kills, seed=options.seed, threads=options.threads)
    print(f"{name}: {result}", flush=True)
    if result.faults:
        print(f"{folder} is kept", flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return bool(result.faults)


if __name__ == "__main__":
    sys.exit(main())
