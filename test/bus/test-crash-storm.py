#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That pmd can be killed at any moment, with a fleet of all kinds of apps, operations and requests going on: no app, line, request or count is
lost; and that pmd has no more of anything after many starts and stops.

Arguments: the build directory, how often to kill (default: 50), the seed of chance (default: another one each time)."""

import os
import sys
import time

from pmdtest import Tap
from stormtest import FIRST_CYCLES, Storm, cycles
from survivetest import Victim


def main():
    build, n = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 50
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else time.time_ns() % 1000000
    print(f"# seed {seed}", flush=True)
    tap = Tap()
    with Storm(build, seed) as storm:
        storm.start_fleet()
        storm.rage(n)
        storm.check(tap)
        if tap.failed:
            with open(os.path.join(storm.dir, "home", "pmd.log"), encoding="utf-8", errors="replace") as f:
                print("# " + "# ".join(f.readlines()[-60:]))
    with Victim(build) as pm:
        (first, _), (last, _) = cycles(pm, 100, FIRST_CYCLES)
        tap.equal(last, first, "starts and stops leave nothing behind")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
