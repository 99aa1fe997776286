# SPDX-License-Identifier: MIT
"""A worker: does a piece of work every few seconds, and says so."""
import itertools
import os
import time

print("worker", os.environ.get("pm_id"), "begins", flush=True)
for n in itertools.count(1):
    total = sum(i * i for i in range(100_000))
    print(f"piece {n}: {total}", flush=True)
    time.sleep(5)
