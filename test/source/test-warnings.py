#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""No compiler says anything: reads what the last builds printed. Argument: a build directory, beside which the others are."""

import os
import re
import sys

NOISE = re.compile(r"warning:|error:|FAILED|undefined reference")


def main():
    top = os.path.dirname(os.path.abspath(sys.argv[1]))
    logs = [os.path.join(top, d, "ninja.log") for d in sorted(os.listdir(top)) if d.startswith("build-")]
    logs = [log for log in logs if os.path.exists(log)]
    failed = not logs
    for n, log in enumerate(logs, 1):
        with open(log, errors="replace") as f:
            lines = [line.rstrip() for line in f if NOISE.search(line)]
        failed = failed or bool(lines)
        print(f"{'not ok' if lines else 'ok'} {n} - {os.path.relpath(log, top)} has no warnings")
        for line in lines[:20]:
            print(f"# {line}")
    print(f"1..{len(logs)}")
    return failed


sys.exit(main())
