# SPDX-License-Identifier: MIT
"""What the tests of pmctl share: a private pmd, and a look at what a command printed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

from pmdtest import PATIENCE, Tap

OK, FAILED, USAGE, NO_SUCH_APP, NOT_RUNNING, UNREACHABLE = 0, 1, 2, 5, 7, 69


def unique_object(pairs):
    keys = [k for k, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key stands twice in {keys}")
    return dict(pairs)


class Instance:
    def __init__(self, build):
        self.dir = tempfile.mkdtemp(prefix="pmctl-")
        self.pmctl = os.path.abspath(os.path.join(build, "src", "pmctl"))
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "PMD_HOME": os.path.join(self.dir, "home"), "LC_ALL": "C.UTF-8"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.run("kill")
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args, **env):
        return subprocess.run(
            [self.pmctl, *args], env={**self.env, **env}, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, timeout=3 * PATIENCE,
            check=False, encoding="utf-8", errors="surrogateescape",
        )

    def jlist(self):
        return json.loads(self.run("jlist").stdout, object_pairs_hook=unique_object)

    def process(self, name):
        return next(p for p in self.jlist() if p["name"] == name)

    def status(self, name):
        return [p["pm2_env"]["status"] for p in self.jlist() if p["name"] == name]

    def write(self, name, text, mode=0o755):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, mode)
        return path


def show(r):
    return f"exit status {r.returncode}\nstdout: {r.stdout[:2000]}\nstderr: {r.stderr[:2000]}"


def expect(tap, r, code, name, stdout=(), stderr=()):
    ok = r.returncode == code and all(s in r.stdout for s in stdout) and all(s in r.stderr for s in stderr)
    tap.check(ok and "Sanitizer" not in r.stderr, name, f"expected {code}, {stdout!r}, {stderr!r}\n{show(r)}")


def run_checks(checks):
    """All of them against one pmd, of the build directory that the first argument is."""
    tap = Tap()
    with Instance(sys.argv[1]) as pm:
        for check in checks:
            try:
                check(tap, pm)
            except Exception as e:  # the other checks may still tell something
                tap.check(False, check.__name__, repr(e))
    return tap.done()
