# SPDX-License-Identifier: MIT
"""Measures a cluster of Node.js under pmd and, with --pm2, under pm2 in the same run: throughput, latency, what the daemon does meanwhile, reloads.
Prints a table of medians.

usage: bench-cluster.py [--pm2 COMMAND] [--runs N] [--reloads N] BUILD_DIR

Needs node and wrk. Nothing here is a test: no figure fails.
"""
import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import tempfile
import threading
import time

HELLO = "require('http').createServer((q, r) => r.end(String(process.pid))).listen(%d);\n"
# One that takes its time to start, and says when it is done.
SLOW_START = "setTimeout(() => require('http').createServer((q, r) => r.end(String(process.pid))).listen(%d, () => process.send('ready')), 1000);\n"
PING = """process.on('message', m => process.send({type: 'pong', data: m}));
setInterval(() => {}, 1000);
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def is_served(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Manager:
    def __init__(self, name, command, env, pid_file, work):
        self.name, self.command, self.env, self.pid_file, self.work, self.n_apps = name, command, env, pid_file, work, 0

    def __call__(self, *args):
        return subprocess.run([*self.command, *args], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)

    def seconds(self, *args):
        begin = time.monotonic()
        self(*args)
        return time.monotonic() - begin

    def daemon_cpu(self):
        with open(self.pid_file) as f:
            pid = int(f.read())
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start(self, code, instances, *options):
        port = free_port()
        self.n_apps += 1
        script = os.path.join(self.work, f"{self.name}{self.n_apps}.js")
        with open(script, "w") as f:
            f.write(code % port if "%d" in code else code)
        self("start", script, "--name", "app", "-i", str(instances), *options)
        while "%d" in code and not is_served(port):
            time.sleep(0.05)
        time.sleep(1)
        return port

    def delete(self):
        self("delete", "app")


def wrk(port, seconds, *options):
    """requests/s, p99 in ms, errors"""
    text = subprocess.run(["wrk", "-t2", "-c64", f"-d{seconds}s", "--latency", *options, f"http://127.0.0.1:{port}/"], capture_output=True, text=True).stdout
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    errors = re.search(r"Socket errors: (.*)", text)
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), float(p99.group(1)) * {"us": 0.001, "ms": 1, "s": 1000}[p99.group(2)],
            errors.group(1) if errors else "")


def ask(s, keep):
    """pid, and whether the connection lives on"""
    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"" if keep else b"Connection: close\r\n") + b"\r\n")
    data = b""
    while True:
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.I)
        if body and length and len(body) >= int(length.group(1)):
            break
        more = s.recv(4096)
        if not more:
            if body and not length:
                break
            raise OSError("cut off")
        data += more
    if not data.startswith(b"HTTP/1.1 200"):
        raise OSError(data[:40])
    return body, keep and b"connection: close" not in head.lower()


class Client(threading.Thread):
    def __init__(self, port, keep):
        super().__init__(daemon=True)
        self.port, self.keep, self.n, self.failures, self.stopped = port, keep, 0, 0, False
        self.start()

    def run(self):
        s, usable = None, False
        while not self.stopped:
            try:
                s = s or socket.create_connection(("127.0.0.1", self.port), 20)
                _, usable = ask(s, self.keep)
                self.n += 1
            except OSError:
                self.failures, usable = self.failures + 1, False
                time.sleep(0.005)
            if s and not usable:
                s.close()
                s = None


def reload_under_load(m, port, n):
    """failed requests, all requests, seconds per reload"""
    clients = [Client(port, keep) for keep in (False, True) for _ in range(16)]
    time.sleep(0.5)
    times = [m.seconds("reload", "app") for _ in range(n)]
    time.sleep(0.5)
    for c in clients:
        c.stopped = True
    for c in clients:
        c.join(30)
    return sum(c.failures for c in clients), sum(c.n for c in clients), statistics.median(times)


def spread(port):
    """Of 64 connections that are kept alive: how many each worker has, from and to."""
    sockets = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(64)]
    counts = {}
    for s in sockets:
        pid, _ = ask(s, True)
        counts[pid] = counts.get(pid, 0) + 1
    for s in sockets:
        s.close()
    return f"{min(counts.values())} to {max(counts.values())} ({len(counts)} workers)"


def start_time(work):
    """Seconds from the fork of node to its listening: what no process manager can save."""
    script, times = os.path.join(work, "alone.js"), []
    with open(script, "w") as f:
        f.write("require('http').createServer(() => 0).listen(0, () => process.exit(0));\n")
    for _ in range(9):
        begin = time.monotonic()
        subprocess.run(["node", script], check=True)
        times.append(time.monotonic() - begin)
    return statistics.median(times)


def round_trip(m, build):
    """Microseconds from a client of libpmd to the app, and back as an event; and those of a call that pmd answers itself."""
    m.start(PING, 1)
    number = next(p["pm_id"] for p in json.loads(m("jlist").stdout))
    answer = subprocess.run([os.path.join(build, "test/round-trip"), m.env["PMD_HOME"], str(number)], capture_output=True, text=True)
    m.delete()
    return answer.stdout.split()


def compare_throughput(managers, runs):
    """{name: {figure: median}}; in turn, so that what else the machine does falls on all alike."""
    ports = {m.name: m.start(HELLO, 2) for m in managers}
    seen = {m.name: {} for m in managers}
    for _ in range(runs):
        for m in managers:
            before = m.daemon_cpu()
            rate, p99, _ = wrk(ports[m.name], 5)
            fresh, _, errors = wrk(ports[m.name], 5, "-H", "Connection: close")
            cpu = m.daemon_cpu() - before
            for figure, value in (("keep-alive (requests/s)", rate), ("keep-alive, p99 (ms)", p99), ("new connection per request (requests/s)", fresh),
                                  ("CPU of the daemon meanwhile (s)", cpu)):
                seen[m.name].setdefault(figure, []).append(value)
    for m in managers:
        m.delete()
    return {name: {figure: statistics.median(values) for figure, values in figures.items()} for name, figures in seen.items()}


def measure_reloads(m, work, n, few):
    alone = start_time(work)
    m.start(HELLO, 2)
    yield "reload of 2 processes (s)", round(statistics.median(m.seconds("reload", "app") for _ in range(9)), 2)
    yield "start of the app alone (s)", round(alone, 2)
    m.delete()
    port = m.start(HELLO, 4)
    failed, total, seconds = reload_under_load(m, port, n)
    yield f"{n} reloads of 4 processes under load: failed requests", f"{failed} of {total}"
    yield "of which each takes (s)", round(seconds, 2)
    m.delete()
    port = m.start(SLOW_START, 4, "--wait-ready")
    failed, total, seconds = reload_under_load(m, port, few)
    yield f"{few} reloads with wait_ready and a start of 1 s: failed requests", f"{failed} of {total} ({few})"
    m.delete()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pm2")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("build")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="pmd-bench-")

    home = os.path.join(work, "pmd")
    ours = Manager("pmd", [os.path.abspath(os.path.join(args.build, "src/pmctl"))], dict(os.environ, PMD_HOME=home), os.path.join(home, "run/pmd.lock"), work)
    managers = [ours]
    if args.pm2:
        home = os.path.join(work, "pm2")
        env = dict(os.environ, PM2_HOME=home, PM2_DISABLE_VERSION_CHECK="true", PM2_DISCRETE_MODE="true")
        managers.append(Manager("pm2", args.pm2.split(), env, os.path.join(home, "pm2.pid"), work))

    figures = compare_throughput(managers, args.runs)
    for m in managers:
        n = args.reloads if m is ours else max(1, args.reloads // 33)
        for name, value in measure_reloads(m, work, n, max(1, n // 10)):
            name = re.sub(r"^\d+ reloads", "reloads", name) if args.pm2 else name
            figures[m.name][name] = f"{value} ({n})" if name.startswith("reloads of 4") else value
    for policy in ("shared", "reuseport"):
        port = ours.start(HELLO, 8, "--cluster-policy", policy)
        figures["pmd"][f"64 connections, cluster_policy {policy}: per worker"] = spread(port)
        ours.delete()
    whole, call = round_trip(ours, args.build)
    figures["pmd"]["message of a client to an app, and its answer as an event to the client (µs)"] = whole
    figures["pmd"]["the same, without the way between client and pmd and back (µs)"] = str(int(whole) - int(call))

    names = [m.name for m in managers]
    print(f"Load {os.getloadavg()[0]:.1f}, {os.cpu_count()} CPUs, {subprocess.run(['node', '--version'], capture_output=True, text=True).stdout.strip()}\n")
    print(f"| figure | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for figure in dict.fromkeys(k for name in names for k in figures[name]):
        cells = [figures[name].get(figure, "") for name in names]
        print(f"| {figure} | {' | '.join(f'{c:.4g}' if isinstance(c, float) else str(c) for c in cells)} |")
    for m in managers:
        m("kill")


main()
