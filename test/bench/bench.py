# SPDX-License-Identifier: MIT
"""Measures pmd where it is called: a private instance (default), or --system on a booted systemd. Prints a table of medians, and of the
least of several runs where a busy machine makes the difference; the first rows are what the machine itself takes.

usage: bench.py [--system] [--pm2 COMMAND] [--runner KIND] [--fleet] BUILD_DIR

With --pm2 the same is measured for pm2 in the same run, and the ratio is given. With --fleet a thousand apps of an ecosystem file and a watch
over a large tree are measured instead, minima of several runs. Nothing here is a test: no figure fails.
"""
import argparse
import glob
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time


class Manager:
    """A process manager under measurement: how to call it, and where its daemon is."""

    def __init__(self, name, command, env, daemon_pid):
        self.name, self.command, self.env, self.daemon_pid = name, command, env, daemon_pid

    def __call__(self, *args, check=True):
        return subprocess.run([*self.command, *args], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=check).stdout

    def seconds(self, *args):
        """From posix_spawn() to the end, without its output, whose reader would be measured too."""
        command, env = [*self.command, *args], os.environ if self.env is None else self.env
        actions = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        start = time.monotonic()
        _, status = os.waitpid(os.posix_spawnp(command[0], command, env, file_actions=actions), 0)
        seconds = time.monotonic() - start
        if status != 0:
            raise subprocess.CalledProcessError(status, command)
        return seconds

    def list(self):
        text = self("jlist").decode()
        return json.loads(text[text.index("["):])


def rollup(pid, field):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":")) / 1024


def switches(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path) as f:
            total += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    return total


def spread(name, unit, values):
    """The rows of something that was measured several times."""
    yield f"{name} ({unit})", statistics.median(values)
    yield f"{name}, least ({unit})", min(values)


def list_times(m, n):
    return [m.seconds("jlist") * 1000 for _ in range(n)]


def start_times(m, n):
    """Leaves the last hundred running."""
    times = []
    for i in range(n):
        if i > 0:
            m("delete", "all")
            time.sleep(6)  # ext4 looks for inodes that were not in use in the last five seconds
        times.append(m.seconds("start", shutil.which("sleep"), "--name", "sleep", "-f", "-x", "-i", "100", "--", "100000"))
    return times


def spawn_hundred():
    """Seconds for a hundred children of this program that execute sleep, which a loop of posix_spawn() takes at the least."""
    start = time.monotonic()
    pids = [os.posix_spawn(shutil.which("sleep"), ["sleep", "100000"], os.environ) for _ in range(100)]
    elapsed = time.monotonic() - start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return elapsed


def measure_machine():
    command = Manager("", [shutil.which("true")], dict(os.environ), None)
    yield from spread("floor: /bin/true", "ms", [command.seconds() * 1000 for _ in range(41)])
    yield from spread("floor: 100 × posix_spawn() of sleep", "s", [spawn_hundred() for _ in range(5)])


def bare_scopes(program, n, how):
    """Seconds, or ms of "again", that n transient scopes take which a loop of D-Bus calls starts: systemd without anybody who manages them."""
    seconds = float(subprocess.run([program, str(n), how], stdout=subprocess.PIPE, check=True).stdout)
    time.sleep(5)  # the end of the scopes is work for it too
    return seconds


def measure_systemd(program, fleet):
    if fleet:
        yield "floor: 1000 scopes, a slice each, by a loop of StartTransientUnit (s)", bare_scopes(program, 1000, "slices")
        return
    yield from spread("floor: 100 scopes by a loop of StartTransientUnit", "s", [bare_scopes(program, 100, "slice") for _ in range(5)])
    yield "floor: kill -9 to the end of the next scope's job, by such a loop (ms)", bare_scopes(program, 41, "again")


def crash_to_main(m, stamp, n):
    """Milliseconds from kill -9 to the first line of the next main()."""
    log = tempfile.mktemp()
    m("start", stamp, "--name", "stamp", "--max-restarts", "1000000", "--", log)
    times = []
    for _ in range(n):
        before = len(wait_for_stamps(log, 1))
        pid = next(p["pid"] for p in m.list() if p["name"] == "stamp")
        time.sleep(0.05)
        killed = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        times.append((wait_for_stamps(log, before + 1)[before] - killed) / 1e6)
    m("delete", "stamp")
    os.unlink(log)
    return times


def wait_for_stamps(log, n):
    while True:
        try:
            with open(log) as f:
                stamps = [int(line) for line in f.read().splitlines()]
            if len(stamps) >= n:
                return stamps
        except FileNotFoundError:
            pass
        time.sleep(0.02)  # each says itself when it began: who looks more often is only in the way


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def crash_loop_share(m, n, seconds):
    """Percent of a core that the daemon uses while n processes crash as fast as it restarts them."""
    m("start", shutil.which("false"), "--name", "crash", "-f", "-x", "-i", str(n), "--max-restarts", "1000000", check=False)
    time.sleep(5)
    pid = m.daemon_pid()
    used, begin = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    share = (cpu_seconds(pid) - used) / (time.monotonic() - begin)
    m("delete", "crash", check=False)
    return share * 100


def measure(m, stamp, runs):
    m("ping")
    pid = m.daemon_pid()
    time.sleep(1)
    yield from spread("list as JSON, no app", "ms", list_times(m, runs))
    yield "daemon, no app: Pss (MB)", rollup(pid, "Pss")
    yield from spread("start 100 × sleep", "s", start_times(m, 5))
    yield from spread("list as JSON, 100 apps", "ms", list_times(m, runs))
    yield "daemon, 100 apps: Pss (MB)", rollup(pid, "Pss")
    time.sleep(1)
    before = switches(pid)
    time.sleep(10)
    yield "daemon, 100 apps: context switches in 10 s", switches(pid) - before
    yield "stop and delete 100 × sleep (s)", m.seconds("delete", "all")
    yield from spread("kill -9 to the next main()", "ms", crash_to_main(m, stamp, runs))
    yield "daemon, 100 crash loops: CPU (% of a core)", crash_loop_share(m, 100, 10)


def make_tree(path, n):
    """n directories, a hundred in each of those of the first level."""
    for i in range(n // 100):
        for k in range(99):
            os.makedirs(os.path.join(path, f"d{i}", f"e{k}"))


def measure_fleet(m, work):
    file, tree = os.path.join(work, "fleet.json"), os.path.join(work, "tree")
    with open(file, "w") as f:
        json.dump({"apps": [{"name": f"n{i}", "script": shutil.which("sleep"), "args": "100000"} for i in range(1000)]}, f)
    m("ping")
    pid, starts, lists, json_lists, memory = m.daemon_pid(), [], [], [], []
    for _ in range(5):
        starts.append(m.seconds("start", file))
        lists += [m.seconds("list") * 1000 for _ in range(15)]
        json_lists += [m.seconds("jlist") * 1000 for _ in range(15)]
        memory.append(rollup(pid, "Pss"))
        m("delete", "all")
        time.sleep(6)  # ext4 looks for inodes that were not in use in the last five seconds
    yield "start 1000 apps of an ecosystem file, all online (s)", min(starts)
    yield "list, 1000 apps (ms)", min(lists)
    yield "list as JSON, 1000 apps (ms)", min(json_lists)
    yield "daemon, 1000 apps: Pss (MB)", min(memory)

    make_tree(tree, 10000)
    m("start", shutil.which("sleep"), "--name", "watcher", "--cwd", tree, "--watch", "--", "100000")
    time.sleep(5)
    used, before = cpu_seconds(pid), switches(pid)
    time.sleep(10)
    yield "daemon, watch over 10 000 directories: CPU in 10 s (ms)", (cpu_seconds(pid) - used) * 1000
    yield "daemon, watch over 10 000 directories: context switches in 10 s", switches(pid) - before
    yield "daemon, watch over 10 000 directories: Pss (MB)", rollup(pid, "Pss")
    m("delete", "all")


def pmd_pid(home):
    def find():
        with open(os.path.join(home, "run/pmd.lock")) as f:
            return int(f.read())
    return find


def system_pid():
    with open("/run/pmd/pmd.lock") as f:
        return int(f.read())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--system", action="store_true")
    parser.add_argument("--pm2")
    parser.add_argument("--runner", default="")
    parser.add_argument("--fleet", action="store_true")
    parser.add_argument("build")
    args = parser.parse_args()

    pmctl = os.path.join(args.build, "src/pmctl") if os.path.exists(os.path.join(args.build, "src/pmctl")) else "pmctl"
    stamp = os.path.join(args.build, "test/stamp")
    work = tempfile.mkdtemp(prefix="pmd-bench-")

    if args.system:
        ours = Manager("pmd", [pmctl, "--system"], dict(os.environ), system_pid)
    else:
        ours = Manager("pmd", [pmctl], dict(os.environ, PMD_HOME=work, PMD_RUNNER=args.runner), pmd_pid(work))
    figures = dict(measure_machine())
    if args.system:
        figures.update(measure_systemd(os.path.join(args.build, "test/scopes"), args.fleet))
    figures.update(measure_fleet(ours, work) if args.fleet else measure(ours, stamp, 41))
    ours("kill")

    peer = {}
    if args.pm2:
        env = dict(os.environ, PM2_HOME=os.path.join(work, "pm2"), PM2_DISABLE_VERSION_CHECK="true", PM2_DISCRETE_MODE="true")

        def pm2_pid():
            with open(os.path.join(work, "pm2/pm2.pid")) as f:
                return int(f.read())

        theirs = Manager("pm2", args.pm2.split(), env, pm2_pid)
        peer = {name: value for name, value in figures.items() if name.startswith("floor")}
        peer.update(measure(theirs, stamp, 7))
        theirs("kill")

    print(f"| figure | pmd |{' pm2 | pm2 ÷ pmd |' if peer else ''}")
    print(f"|---|---|{'---|---|' if peer else ''}")
    for name, value in figures.items():
        print(f"| {name} | {value:.3g} |" + (f" {peer[name]:.3g} | {peer[name] / value:.1f} |" if peer and value else f" {peer[name]:.3g} | |" if peer else ""))
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
