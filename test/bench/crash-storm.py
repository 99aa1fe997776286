#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is too long for the tests, by hand: how soon after kill -9 pmd serves again with 100 apps, and that thousands of starts and stops leave
nothing. The storm itself is "test/bus/test-crash-storm.py BUILD 1000". Prints Markdown.

Arguments: the build directory; --cycles=N starts and stops (default: 2000), --instances=N of them at a time (1); --kills=N (default: 50)."""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bus"))

from pmdtest import connect, method_call, receives  # noqa: E402
from stormtest import FIRST_CYCLES, cycles  # noqa: E402
from survivetest import DEATHS_FREE, LIVED, Victim  # noqa: E402

N_APPS = 100


def argument(name, default):
    return next((int(a.split("=")[1]) for a in sys.argv[2:] if a.startswith(f"--{name}=")), default)


def serves(pm, pid):
    """Whether another pmd than that one answers a call."""
    if pm.pid() in (0, pid):
        return False
    try:
        with connect(os.path.join(pm.dir, "home", "run", "pmd.sock")) as s:
            s.sendall(method_call(1, "/org/pmd1", "org.pmd1.Manager", "Ping"))
            return receives(s, b"pong")
    except OSError:
        return False


def recovery(pm, n):
    """Milliseconds from kill -9 to an answer, of a pmd that the keeper starts at once."""
    times = []
    pm.run("start", "/bin/sleep", "--name", "idle", "--interpreter", "none", "-i", str(N_APPS), "--", "100000")
    for i in range(n):
        time.sleep(LIVED if i % DEATHS_FREE == 0 else 0.1)
        pid = pm.pid()
        before = time.monotonic()
        pm.kill()
        while not serves(pm, pid):
            time.sleep(0.0005)
        times.append((time.monotonic() - before) * 1000)
    pm.run("delete", "all")
    return times


def main():
    n_kills, n_cycles, instances = argument("kills", 50), argument("cycles", 2000), argument("instances", 1)
    with Victim(os.path.abspath(sys.argv[1])) as pm:
        times = recovery(pm, n_kills)
        print("| figure | target | pmd |\n|---|---|---|")
        print(f"| kill -9 to an answer, {N_APPS} apps, {n_kills} times (ms): median; longest | ≤ 150 | {statistics.median(times):.0f}; {max(times):.0f} |")
        n_first = max(n_cycles // 10, FIRST_CYCLES)
        early, late = cycles(pm, n_cycles, n_first, instances)
        for what, n in late[0].items():
            print(f"| {what}, after {n_first} and {n_cycles} stops and starts | no growth | {early[0][what]}, {n} |")
        print(f"| memory of pmd, the same (KiB) | no growth | {early[1]}, {late[1]} |")
    return late[0] != early[0]


if __name__ == "__main__":
    sys.exit(main())
