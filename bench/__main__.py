"""Run the benches: `python -m bench [--quick] [--only delivery,floor] [--json FILE]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from bench.daemon import Server, raise_file_limit, running, started
from bench.plan import QUICK, Bench, Figure, Scale
from bench.report import line, ratio_line, ratios, write_json
from bench.scenarios import NEEDS_NO_SERVER, SCENARIOS
from bench.wires import WIRES


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, print the table and return the exit status."""
    options = parser().parse_args(arguments)
    names = options.only.split(",") if options.only else list(SCENARIOS)
    unknown = set(names) - SCENARIOS.keys()
    if unknown or (options.url is None) != (options.pid is None):
        print(f"unknown: {', '.join(unknown)}" if unknown else "--url and --pid come together")
        return 2
    raise_file_limit()
    scale = QUICK if options.quick else Scale()
    figures: list[Figure] = []
    bench = Bench(scale, WIRES[options.wire])
    ordered = [name for name in SCENARIOS if name in names]
    # A fresh daemon each: presence of the last one's users would go out during the next. The
    # smoke run shares one, for its figures are not kept.
    groups = [ordered] if options.quick else [[name] for name in ordered]
    for group in groups:
        with server(options, group) as bench.server:
            for figure in chain.from_iterable(SCENARIOS[name](bench) for name in group):
                print(line(figure), flush=True)
                figures.append(figure)
    for name, ratio in ratios(figures).items():
        print(ratio_line(name, ratio))
    if options.json:
        write_json(options.json, figures, wire=options.wire, frame_bytes=bench.frame_bytes)
    return 0


@contextmanager
def server(options: argparse.Namespace, names: Sequence[str]) -> Iterator[Server | None]:
    """Return the server to measure: the one that runs, one of our own, or none at all."""
    if set(names) <= NEEDS_NO_SERVER:
        yield None
    elif options.url is not None:
        yield running(options.url, options.pid)
    else:
        with started() as daemon:
            yield daemon


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument("--quick", action="store_true", help="a smoke run of less than a minute")
    made.add_argument("--only", metavar="PARTS", help=f"some of {','.join(SCENARIOS)}")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    made.add_argument("--wire", choices=sorted(WIRES), default="plain", help="how to speak")
    made.add_argument("--url", help="measure a server that runs already")
    made.add_argument("--pid", type=int, help="the process to hold to account for --url")
    return made


if __name__ == "__main__":
    sys.exit(main())
