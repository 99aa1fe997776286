# SPDX-License-Identifier: MIT
"""max_memory_restart where there is a memory controller: within a second of the cgroup passing the limit."""

import os

import kernel

# Says when it passes the limit, and when it was told to end. What counts is without the cache that the kernel can have back at any time. It
# passes the limit in one step, by more than the pages that the kernel charges in advance and takes back when another cgroup is served.
GROWING = """import re, signal, sys, time
def say(what):
    with open(sys.argv[1], "a") as f:
        f.write(f"{what} {time.clock_gettime(time.CLOCK_MONOTONIC)}\\n")
def end(*_):
    say("end")
    sys.exit(0)
signal.signal(signal.SIGINT, end)
cgroup = "/sys/fs/cgroup" + open("/proc/self/cgroup").read().strip().split("::")[1]
def counted():
    cache = re.search("^inactive_file ([0-9]+)", open(cgroup + "/memory.stat").read(), re.M)
    return int(open(cgroup + "/memory.current").read()) - int(cache[1])
blocks = []
say("begin")
while counted() <= int(sys.argv[2]) - (2 << 20):
    blocks.append(bytes(range(256)) * 1024)
say("above")
blocks.append(bytes(range(256)) * (6 << 12))
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
        elif what == "end" and above is not None:
            found.append(float(at) - above)
            above = None
    return found


def explain(guest, log):
    """What there is when nothing happens: how far the app has come, and what the kernel counts."""
    guest.say(guest.run("sh", "-c", f"cat {log}; pmctl describe growing; cd {guest.cgroup(1)} && grep . memory.current memory.events cgroup.procs && "
                        "grep _file memory.stat")[1])


def memory_restart(guest):
    os.makedirs("/var/lib/memory")
    script, log = "/var/lib/memory/growing.py", "/var/lib/memory/log"
    with open(script, "w", encoding="utf-8") as f:
        f.write(GROWING)

    guest.pmctl("start", "/bin/sleep", "--name", "lean", "--max-memory-restart", str(LIMIT), "--", "infinity")
    guest.pmctl("start", script, "--name", "growing", "--interpreter", "python3", "--max-memory-restart", str(LIMIT), "--", log, str(LIMIT))
    guest.wait(lambda: len(delays(log)) >= 1, "the app that grows is restarted", 120)
    if not delays(log):
        explain(guest, log)
    # It passes it again and again, and where the machine is busy not every time counts.
    guest.wait(lambda: min(delays(log), default=1) < 1, "within a second of passing the limit", 60)
    guest.say("told to end after " + ", ".join(f"{s:.2f} s" for s in delays(log)))
    guest.matches(guest.property(1, "RestartReason"), r"^memory: [0-9.]+ MiB above 32 MiB$", "the reason says how much it was")
    guest.equal(guest.property(0, "NRestarts"), 0, "who is below the limit goes on")
    guest.pmctl("delete", "all")


kernel.main(memory_restart)
