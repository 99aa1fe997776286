# SPDX-License-Identifier: MIT
"""Once only, grows to many MiB when it is told to. Arguments: how many, the file that tells when, and at how many FILE.passed gets the time
(default: at none). FILE.done is there when it has grown."""

import os
import sys
import time

size, go = int(sys.argv[1]), sys.argv[2]
passed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
blocks = []
while not os.path.exists(go) or os.path.exists(go + ".begun"):
    time.sleep(0.02)


def write(name, text):
    with open(go + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(go + ".new", go + name)


write(".begun", "")
for i in range(size):
    blocks.append(bytearray(b"x" * (1 << 20)))
    if i == passed and passed:
        write(".passed", str(time.monotonic()))
write(".done", "")
while True:
    time.sleep(1000)
