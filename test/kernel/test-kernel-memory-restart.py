# SPDX-License-Identifier: MIT
"""max_memory_restart where there is a memory controller: within a second of the cgroup passing the limit."""

import os

import kernel

# Grows until its cgroup is above the limit, and says when that was, and when it was told to end.
GROWING = """import signal, sys, time
def say(what):
    with open(sys.argv[1], "a") as f:
        f.write(f"{what} {time.clock_gettime(time.CLOCK_MONOTONIC)}\\n")
def end(*_):
    say("end")
    sys.exit(0)
signal.signal(signal.SIGINT, end)
current = "/sys/fs/cgroup" + open("/proc/self/cgroup").read().strip().split("::")[1] + "/memory.current"
blocks = []
while int(open(current).read()) <= int(sys.argv[2]):
    blocks.append(bytes(range(256)) * 1024)
say("above")
time.sleep(1000)
"""

LIMIT = 32 << 20


def delays(path):
    """Seconds from passing the limit to the request to end, of each incarnation."""
    try:
        with open(path, encoding="utf-8") as f:
            lines = [line.split() for line in f]
    except FileNotFoundError:
        return []
    above, found = None, []
    for what, at in lines:
        if what == "above":
            above = float(at)
        elif above is not None:
            found.append(float(at) - above)
            above = None
    return found


def memory_restart(guest):
    os.makedirs("/var/lib/memory")
    script, log = "/var/lib/memory/growing.py", "/var/lib/memory/log"
    with open(script, "w", encoding="utf-8") as f:
        f.write(GROWING)

    guest.pmctl("start", "/bin/sleep", "--name", "lean", "--max-memory-restart", str(LIMIT), "--", "infinity")
    guest.pmctl("start", script, "--name", "growing", "--interpreter", "python3", "--max-memory-restart", str(LIMIT), "--", log, str(LIMIT))
    guest.wait(lambda: len(delays(log)) >= 1, "the app that grows is restarted", 120)
    found = delays(log)
    guest.say("told to end after " + ", ".join(f"{s:.2f} s" for s in found))
    guest.check(found and min(found) < 1, "within a second of passing the limit", str(found))
    guest.matches(guest.property(1, "RestartReason"), r"^memory: [0-9.]+ MiB above 32 MiB$", "the reason says how much it was")
    guest.equal(guest.property(0, "NRestarts"), 0, "who is below the limit goes on")
    guest.pmctl("delete", "all")


kernel.main(memory_restart)
