# SPDX-License-Identifier: MIT
"""What the checks of sources have in common: each has a name and a list of faults, and there are none if all is well."""
import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_n = _failed = 0


def check(name, faults):
    global _n, _failed
    _n += 1
    for fault in faults:
        print("#", fault)
    _failed += bool(faults)
    print(f"{'not ok' if faults else 'ok'} {_n} - {name}")


def skip(name, why):
    global _n
    _n += 1
    print(f"ok {_n} - {name} # SKIP {why}")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def done():
    """The exit status."""
    print(f"1..{_n}")
    return _failed > 0
