#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures the log files of a private pmd: how fast lines come through, what they cost, and whether the last line of a process is there.

usage: bench-logs.py BUILD_DIR [MEGABYTES]

LAST_LINES, ROTATIONS, GIGABYTES: how much of the long measurements is made.

Beside each figure stands what copying the same lines to a file through a pipe takes with cat, in the same run.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
SIZE = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
WRITER = f"head -c {SIZE}000000 /dev/zero | tr '\\0' x | fold -w 99"
HOME = tempfile.mkdtemp(prefix="bench-logs-")
PREPARED = os.path.join(HOME, "lines")
ENV = dict(os.environ, PMD_HOME=os.path.join(HOME, "home"), PMD_BINARY=os.path.join(BUILD, "src", "pmd"))


def pmctl(*args):
    return subprocess.run([os.path.join(BUILD, "src", "pmctl"), *args], env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=True).stdout


def busctl(*args):
    address = "unix:path=" + os.path.join(ENV["PMD_HOME"], "run", "pmd.sock")
    return subprocess.run(["busctl", "--address=" + address, *args], stdout=subprocess.PIPE, text=True).stdout


def daemon_pid():
    out = busctl("get-property", "org.pmd1", "/org/pmd1", "org.pmd1.Manager", "PID")
    return int(out.split()[1])


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Rss:"))


def file_size(path):
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def one_writer(name, *options):
    out = os.path.join(HOME, name + ".out")
    pid = daemon_pid()
    cpu, memory = cpu_seconds(pid), rss(pid)
    start = time.monotonic()
    pmctl("start", f"cat {PREPARED}", "--name", name, "--no-autorestart", "--output", out, "--merge-logs", "--log-max-size", "0", *options)
    expected = os.stat(PREPARED).st_size
    while True:
        size = file_size(out)
        if size >= expected and "stopped" in pmctl("list", name):
            break
        time.sleep(0.01)
    seconds = time.monotonic() - start
    cpu = cpu_seconds(pid) - cpu
    print(f"| {name} | {expected / seconds / 1e6:.0f} MB/s | {cpu / expected * 1e9:.2f} CPU-s per GB of pmd | RSS {memory} → {rss(pid)} KiB |", flush=True)
    pmctl("delete", name)
    os.unlink(out)


def cat():
    out = os.path.join(HOME, "cat.out")
    start = time.monotonic()
    subprocess.run(f"cat {PREPARED} | cat > {out}", shell=True, check=True)
    seconds = time.monotonic() - start
    print(f"| cat \\| cat | {os.stat(PREPARED).st_size / seconds / 1e6:.0f} MB/s | | |", flush=True)
    os.unlink(out)


def last_lines(n):
    """Each of n runs of a process writes its number and is gone at once."""
    counter = os.path.join(HOME, "counter")
    script = os.path.join(HOME, "last.sh")
    with open(script, "w") as f:
        f.write(f"#!/bin/sh\nread n < {counter}\necho $((n + 1)) > {counter}\n[ $n -ge {n} ] && exec sleep infinity\necho last $n\nkill -9 $$\n")
    os.chmod(script, 0o755)
    with open(counter, "w") as f:
        f.write("0\n")
    out = os.path.join(HOME, "last.out")
    pmctl("start", script, "--name", "last", "--output", out, "--max-restarts", str(n + 10), "--merge-logs")
    while True:
        with open(counter) as f:
            text = f.read().strip()
        if text and int(text) > n:
            break
        time.sleep(0.1)
    pmctl("delete", "last")
    with open(out) as f:
        found = sum(1 for i, line in enumerate(f) if line == f"last {i}\n")
    print(f"| last lines before SIGKILL | {found} of {n} | | |", flush=True)


def rotations(n):
    """100 000 lines a second, of 100 bytes, and 1000 of them in a file."""
    lines, directory = n * 1000, os.path.join(HOME, "rotated")
    os.mkdir(directory)
    script = os.path.join(HOME, "paced.py")
    with open(script, "w") as f:
        f.write("import os, sys, time\nstart = time.monotonic()\n"
                f"for k in range(0, {lines}, 1000):\n"
                "    data = b''.join(b'line %-93d.\\n' % i for i in range(k, k + 1000))\n"
                "    while data:\n        data = data[os.write(1, data):]\n"
                "    time.sleep(max(0, start + (k + 1000) / 100000 - time.monotonic()))\n")
    out = os.path.join(directory, "out.log")
    start = time.monotonic()
    pmctl("start", f"{sys.executable} {script}", "--name", "rotate", "--no-autorestart", "--output", out, "--merge-logs", "--log-max-size", "100000",
          "--log-retain", str(n + 10))
    while "stopped" not in pmctl("list", "rotate"):
        time.sleep(0.1)
    seconds = time.monotonic() - start
    found, newlines, files = [], 0, glob.glob(os.path.join(directory, "*"))
    for path in files:
        with open(path, "rb") as f:
            text = f.read()
        newlines += text.count(b"\n")
        found += [int(i) for i in re.findall(rb"^line (\d+) +\.$", text, re.M)]
    lost, torn = lines - len(set(found)), newlines - len(found)
    print(f"| {len(files) - 1} rotations at {lines / seconds:.0f} lines/s | {lost} lost, {torn} torn of {lines} | | |", flush=True)
    pmctl("delete", "rotate")
    shutil.rmtree(directory)


def flat(gigabytes):
    """Memory after each tenth of so many gigabytes."""
    out, pid = os.path.join(HOME, "flat.out"), daemon_pid()
    rounds = max(1, int(gigabytes * 1e9 / os.stat(PREPARED).st_size))
    command = f"i=0; while [ $i -lt {rounds} ]; do cat {PREPARED}; i=$((i + 1)); done"
    pmctl("start", command, "--name", "flat", "--no-autorestart", "--output", out, "--merge-logs", "--log-max-size", "100M", "--log-retain", "1")
    time.sleep(1)
    first = highest = rss(pid)
    while "stopped" not in pmctl("list", "flat"):
        highest = max(highest, rss(pid))
        time.sleep(0.2)
    print(f"| {rounds * os.stat(PREPARED).st_size / 1e9:.0f} GB | | RSS {first} KiB after a second, at most {highest}, {rss(pid)} at the end | |", flush=True)
    pmctl("delete", "flat")


def per_stream(n):
    pid = daemon_pid()
    before = rss(pid)
    for kind in ("silent", "busy"):
        command = "exec sleep infinity" if kind == "silent" else "head -c 100000 /dev/zero | tr '\\0' x | fold -w 99; exec sleep infinity"
        for i in range(n):
            pmctl("start", command, "--name", f"{kind}{i}")
    time.sleep(2)
    print(f"| {4 * n} streams | | {(rss(pid) - before) / (4 * n):.1f} KiB of RSS for each, processes and all | |", flush=True)
    pmctl("delete", "all")


try:
    subprocess.run(WRITER + " > " + PREPARED, shell=True, check=True)
    pmctl("list")
    print("| | | | |\n|---|---|---|---|")
    cat()
    one_writer("plain")
    one_writer("dated", "--time")
    one_writer("json", "--log-type", "json")
    rotations(int(os.environ.get("ROTATIONS", "1000")))
    flat(float(os.environ.get("GIGABYTES", "10")))
    per_stream(50)
    last_lines(int(os.environ.get("LAST_LINES", "1000")))
    cat()
finally:
    try:
        pmctl("kill")
    except subprocess.CalledProcessError:
        pass
    shutil.rmtree(HOME, ignore_errors=True)
