"""Measure chatd beside its peers: `python -m bench.peers [--quick] [--only stored,ack] [--json FILE]`.

All servers of a scenario run at once and have their rounds in turns, each round in another order,
so that a machine that changes its speed changes it for all. Only ratios of one run count.
"""  # noqa: E501 - a command

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from bench.daemon import raise_file_limit
from bench.peers.fleet import SERVERS, missing, open_fleet
from bench.peers.postgres import Databases, open_databases
from bench.peers.report import Figures, heading, line, write_json
from bench.peers.scenarios import SCENARIOS, Subject
from bench.plan import Scale

FULL = Scale(idle_step=600)
QUICK = Scale(
    rounds=2, seconds=0.5, people=20, sockets_each=5, sessions=10,
    idle_step=150, idle_steps=2, history_calls=60,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, print the table and return the exit status."""
    options = parser().parse_args(arguments)
    servers, names = options.servers.split(","), options.only.split(",")
    unknown = [*(set(servers) - set(SERVERS)), *(set(names) - SCENARIOS.keys())]
    if unknown or (lacks := missing(servers)):
        print(f"unknown: {', '.join(unknown)}" if unknown else f"first install {lacks}")
        return 2
    raise_file_limit()
    scale, figures = QUICK if options.quick else FULL, Figures()
    print(heading(servers), flush=True)
    with open_databases() as databases:
        for name in names:
            found = measure(name, servers, databases, scale)
            for figure, rounds in found.items():
                print(line(figure, rounds, servers), flush=True)
            figures |= {_unique(name, figure): rounds for figure, rounds in found.items()}
    if options.json:
        write_json(options.json, figures)
    return 0


def measure(name: str, servers: Sequence[str], databases: Databases, scale: Scale) -> Figures:
    """Return the figures of one scenario: fresh servers, rounds in turns."""
    figures: Figures = {}
    rounds = scale.idle_steps if name == "idle" else scale.rounds
    with ExitStack() as stack:
        fleet = stack.enter_context(open_fleet(servers, databases))
        stories = {
            server: stack.enter_context(
                closing(SCENARIOS[name](Subject(fleet[server], databases.pid, scale)))
            )
            for server in servers
        }
        for number in range(rounds):
            start = number % len(servers)
            for server in [*servers[start:], *servers[:start]][:: -1 if number % 2 else 1]:
                for figure, value in next(stories[server]).items():
                    figures.setdefault(figure, {}).setdefault(server, []).append(value)
    return figures


def _unique(scenario: str, figure: str) -> str:
    """Return a name for machines: two scenarios look at PostgreSQL."""
    return f"{scenario}: {figure.strip()}"


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    made.add_argument("--quick", action="store_true", help="a smoke run; its figures mean nothing")
    made.add_argument("--only", default=",".join(SCENARIOS), metavar="PARTS", help="some scenarios")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    made.add_argument("--servers", default=",".join(SERVERS), metavar="NAMES", help="some servers")
    return made


if __name__ == "__main__":
    sys.exit(main())
