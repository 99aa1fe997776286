# SPDX-License-Identifier: MIT
"""The kernel level: pmd under a kernel with the controllers of cgroup v2 and under the systemd that this kernel has booted.

What only a controller can show is tested here and nowhere else: memory and CPU figures, limits that hold, the OOM killer; and what only
a machine can do: power off and boot. Containers cannot do it where the host's cgroup tree is of version 1, as on many CI machines.

How it works. Debian's user-mode-linux is a kernel that runs as an ordinary process (/usr/bin/linux.uml); no virtualization is needed, only
root. Its root file system is this machine's, under an overlay with pmd installed in it: nothing of the host is written to. systemd boots,
and a unit runs one step of the test file, inside, as root. What the step prints is read by the host from a file of the overlay; then
the machine is powered off. The next step is another boot of the same disk.

A test file is

        import kernel

        def first(guest):  ...guest.check(…), guest.equal(…)…
        def second(guest): ...

        kernel.main(first, second)

and is called as "python3 test/kernel/test-kernel-NAME.py BUILD", BUILD being a meson build directory (default: build). It prints TAP.
KEEP=1 in the environment leaves the overlay mounted and says where.

What to know when writing a step:
- There is one CPU, no PSI, no swap, no cpuset and no io.weight. That a limit without a controller is told as a note is what can be tested of those.
- fork and exec cost 25 ms, a pmctl 150 ms: measure against an idle measurement in the same run, never against a constant alone.
- The clock is the host's.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KERNEL = "linux.uml"
MEMORY = "768M"
BOOT_SECONDS = 220
PATIENCE = 30

GUEST_DIR = "/pmd-test"
CGROUP_ROOT = "/sys/fs/cgroup"

# What no test needs and takes seconds to start.
MASKED = ["console-getty.service", "getty.target", "systemd-firstboot.service", "systemd-logind.service", "systemd-modules-load.service",
          "systemd-networkd.service", "systemd-sysusers.service", "systemd-timesyncd.service", "systemd-tmpfiles-clean.timer",
          "systemd-tmpfiles-setup-dev.service", "systemd-udevd.service", "systemd-update-utmp-runlevel.service", "systemd-update-utmp.service",
          "systemd-user-sessions.service"]

UNIT = """[Unit]
Description=Test of pmd
After=dbus.service

[Service]
Type=oneshot
WorkingDirectory=/
Environment=LANG=C.UTF-8 NO_COLOR=1 PYTHONDONTWRITEBYTECODE=1 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/bin/python3 {directory}/{file} --guest {step}
ExecStopPost=/bin/systemctl --no-block start poweroff.target
StandardOutput=append:{directory}/output
StandardError=append:{directory}/output
"""


# ---- the host ----


class Machine:
    """A disk, an overlay over this machine's root, that can be booted again and again."""

    def __init__(self, build, test_file):
        self.test_file = test_file
        self.work = tempfile.mkdtemp(prefix="pmd-kernel-")
        self.root = os.path.join(self.work, "disk/root")
        self.mounts = []
        self.kernel = None
        self._mount("-t", "tmpfs", "-o", "size=2g,mode=755", "pmd-kernel", os.path.join(self.work, "disk"))
        self._install(build)
        self._mount("-t", "overlay", "-o", f"lowerdir={self._path('product')}:/,upperdir={self._path('upper')},workdir={self._path('work')}",
                    "pmd-kernel", self.root)
        # The host's temporary files are many, and systemd looks after them.
        for directory in ("tmp", "var/tmp"):
            self._mount("-t", "tmpfs", "-o", "size=256m", "pmd-kernel", os.path.join(self.root, directory))
        self._configure()

    def _path(self, name):
        path = os.path.join(self.work, "disk", name)
        os.makedirs(path, exist_ok=True)
        return path

    def _mount(self, *arguments):
        os.makedirs(arguments[-1], exist_ok=True)
        subprocess.run(["mount", *arguments], check=True)
        self.mounts.append(arguments[-1])

    def _install(self, build):
        product = self._path("product")
        subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet"], env=dict(os.environ, DESTDIR=product), check=True,
                       stdout=subprocess.DEVNULL)
        # Debian's systemd.pc says /lib, which is a link to /usr/lib.
        for directory in ("bin", "sbin", "lib"):
            path = os.path.join(product, directory)
            if os.path.isdir(path) and os.path.islink("/" + directory):
                shutil.copytree(path, os.path.join(product, "usr", directory), symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(path)

    def write(self, path, text):
        path = os.path.join(self.root, path.lstrip("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):
            os.unlink(path)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, path):
        with open(os.path.join(self.root, path.lstrip("/")), encoding="utf-8", errors="replace") as f:
            return f.read()

    def _configure(self):
        units = os.path.join(self.root, "etc/systemd/system")
        for name in os.listdir(units):
            if name.endswith((".wants", ".requires")):
                shutil.rmtree(os.path.join(units, name))
        for name in MASKED:
            path = os.path.join(units, name)
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink("/dev/null", path)
        self.write("/etc/fstab", "")
        self.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.write("/etc/hostname", "pmd-test\n")
        wants = os.path.join(units, "multi-user.target.wants")
        os.makedirs(wants)
        os.symlink("../pmd-test.service", os.path.join(wants, "pmd-test.service"))
        shutil.rmtree(os.path.join(self.root, "var/lib/pmd"), ignore_errors=True)
        shutil.copytree(os.path.join(SOURCE_DIR, "test/kernel"), self.root + GUEST_DIR, ignore=shutil.ignore_patterns("__pycache__"))

    def boot(self, step):
        """Boots, runs the step and waits for the machine to be off. What the step printed, and whether it was off in time."""
        self.write(GUEST_DIR + "/output", "")
        self.write("/etc/systemd/system/pmd-test.service", UNIT.format(directory=GUEST_DIR, file=os.path.basename(self.test_file), step=step))
        command = [KERNEL, f"mem={MEMORY}", "root=/dev/root", "rootfstype=hostfs", f"rootflags={self.root}", "rw", "init=/lib/systemd/systemd",
                   "con=null", "con0=null,fd:1", "ssl=null", "systemd.unified_cgroup_hierarchy=1", "systemd.show_status=0", "quiet"]
        with open(os.path.join(self.work, "console"), "w", encoding="utf-8") as console:
            # By a pipe: the kernel waits until it can write, and cannot wait for a file.
            copy = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=console)
            # It keeps what is its memory in a file of TMPDIR.
            self.kernel = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=copy.stdin, stderr=copy.stdin, start_new_session=True,
                                           env=dict(os.environ, TMPDIR=self._path("memory"), HOME=self._path("memory")))
            copy.stdin.close()
            try:
                self.kernel.wait(BOOT_SECONDS)
                off = True
            except subprocess.TimeoutExpired:
                off = False
            self.kill()
            copy.wait()
        return self.read(GUEST_DIR + "/output"), off

    def kill(self):
        """The kernel has a process of the host for each of its own."""
        if not self.kernel:
            return
        try:
            os.killpg(self.kernel.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.kernel.wait()
        self.kernel = None

    def console(self):
        with open(os.path.join(self.work, "console"), encoding="utf-8", errors="replace") as f:
            return f.read()[-4000:]

    def remove(self):
        self.kill()
        if os.environ.get("KEEP"):
            print(f"# The disk is {self.root}")
            return
        for path in reversed(self.mounts):
            subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(self.work, ignore_errors=True)


class Tap:
    def __init__(self):
        self.n = self.failed = 0

    def check(self, ok, name, detail=""):
        self.n += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.n} - {name}", flush=True)
        if detail:
            print("".join(f"# {line}\n" for line in detail.splitlines()), end="", flush=True)

    def adopt(self, output):
        """Numbers the results of a step; whether it came to its end."""
        ended = False
        for line in output.splitlines():
            result = re.match(r"(ok|not ok) - (.*)", line)
            if result:
                self.check(result[1] == "ok", result[2])
            elif line == "end":
                ended = True
            else:
                print(line if line.startswith("#") else "# " + line, flush=True)
        return ended


def run_host(steps, test_file):
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    if not shutil.which(KERNEL):
        print(f"1..0 # SKIP needs {KERNEL} (user-mode-linux)")
        return 0

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(SOURCE_DIR, "build"))
    tap = Tap()
    machine = Machine(build, test_file)
    try:
        for i, step in enumerate(steps):
            start = time.monotonic()
            output, off = machine.boot(i)
            ended = tap.adopt(output)
            print(f"# {step.__name__}: {time.monotonic() - start:.0f} s")
            tap.check(ended, f"{step.__name__}: came to its end", "" if ended else machine.console())
            tap.check(off, f"{step.__name__}: the machine powers off", "" if off else machine.console())
    finally:
        machine.remove()
    print(f"1..{tap.n}")
    return 1 if tap.failed else 0


# ---- the guest ----


class Guest:
    """What a step uses inside of the machine."""

    def __init__(self):
        self.failed = 0
        self.environment = dict(os.environ)

    # -- checks --

    def check(self, ok, name, detail=""):
        print(f"{'ok' if ok else 'not ok'} - {name}", flush=True)
        if not ok:
            self.failed += 1
            self.say(detail)
        return ok

    def equal(self, got, expected, name):
        return self.check(got == expected, name, f"got      {got!r}\nexpected {expected!r}")

    def near(self, got, expected, tolerance, name):
        """Within this part of what is expected."""
        return self.check(abs(got - expected) <= tolerance * expected, name, f"got {got}, expected {expected} ± {tolerance:.0%}")

    def matches(self, text, regex, name):
        return self.check(re.search(regex, text, re.M), name, f"no match of {regex} in:\n{text}")

    def say(self, text):
        print("".join(f"# {line}\n" for line in str(text).splitlines()), end="", flush=True)

    def wait(self, condition, name, patience=PATIENCE):
        """Checks that it becomes true. The seconds it took."""
        start = time.monotonic()
        while True:
            value = condition()
            took = time.monotonic() - start
            if value or took > patience:
                self.check(value, name, f"not within {took:.1f} s")
                return took
            time.sleep(0.02)

    def attempt(self, part):
        """A part of a step, whose failure does not keep others from being tried."""
        start = time.monotonic()
        try:
            part(self)
        except Exception:
            self.check(False, f"{part.__name__} goes on", traceback.format_exc())
        self.say(f"{part.__name__}: {time.monotonic() - start:.1f} s")

    # -- commands --

    def run(self, *command, timeout=60):
        """Exit status and all output."""
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              env=self.environment, check=False)
        return done.returncode, done.stdout.decode(errors="replace")

    def pmctl(self, *arguments):
        """The output; that it succeeds is not worth a check of its own, but a failure is one."""
        status, output = self.run("pmctl", *arguments)
        if status != 0:
            self.check(False, "pmctl " + " ".join(arguments), f"exit status {status}\n{output}")
        return output

    def journal(self, *arguments):
        return self.run("journalctl", "-b", "--no-pager", "-o", "cat", *arguments)[1]

    def jlist(self):
        return {p["name"]: p for p in json.loads(self.pmctl("jlist"))}

    def status(self, name):
        p = self.jlist().get(name)
        return p["pm2_env"]["status"] if p else None

    def property(self, process_id, name):
        output = self.run("busctl", "--json=short", "get-property", "org.pmd1", f"/org/pmd1/process/{process_id}", "org.pmd1.Process", name)[1]
        return json.loads(output)["data"]

    # -- cgroups --

    def cgroup(self, process_id):
        return CGROUP_ROOT + self.property(process_id, "ControlGroup")

    def read(self, path):
        try:
            with open(path, encoding="utf-8") as f:
                return f.read().strip()
        except OSError:
            return ""

    def key(self, path, key):
        """The number behind a key of a flat keyed file."""
        found = re.search(rf"^{key} (\d+)$", self.read(path), re.M)
        return int(found[1]) if found else None

    def cpu_usage(self, cgroups, period):
        """Seconds of CPU that each cgroup has used in that time, and how long it was."""
        begin, before = time.monotonic(), [self.key(c + "/cpu.stat", "usage_usec") for c in cgroups]
        time.sleep(period)
        after, end = [self.key(c + "/cpu.stat", "usage_usec") for c in cgroups], time.monotonic()
        return [(b - a) / 1e6 for a, b in zip(before, after)], end - begin


def run_guest(step):
    guest = Guest()
    guest.attempt(step)
    if guest.failed:
        guest.say(guest.run("journalctl", "-b", "--no-pager", "-u", "pmd.service", "-u", "pm-*", "-n", "60")[1])
    print("end", flush=True)


def main(*steps):
    if sys.argv[1:2] == ["--guest"]:
        run_guest(steps[int(sys.argv[2])])
        return
    sys.exit(run_host(steps, sys.argv[0]))
