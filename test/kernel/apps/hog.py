# SPDX-License-Identifier: MIT
"""Uses memory. Arguments: who does (child, leader), how many MiB, and a file that tells when."""

import os
import sys
import time

who, size, go = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def use_memory():
    blocks = []
    for _ in range(size):
        blocks.append(bytearray(b"x" * (1 << 20)))
    with open(go + ".done", "w", encoding="utf-8") as f:
        f.write(str(time.monotonic()))
    return blocks


def wait_for_go():
    while not os.path.exists(go):
        time.sleep(0.05)


child = os.fork()
if (child == 0) == (who == "child"):
    wait_for_go()
    os.path.exists(go + ".done") or use_memory()
    time.sleep(1000)
while True:
    time.sleep(1000)
