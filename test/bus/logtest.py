# SPDX-License-Identifier: MIT
"""What the tests of logs share: a private pmd, and pmctl for it."""

import os
import shutil
import subprocess
import tempfile

from pmdtest import PATIENCE, wait_until


class Instance:
    def __init__(self, build):
        self.dir = tempfile.mkdtemp(prefix="pmd-logs-")
        self.pmctl = os.path.abspath(os.path.join(build, "src", "pmctl"))
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "PMD_HOME": os.path.join(self.dir, "home"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.logs = os.path.join(self.dir, "home", "logs")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.run("kill")
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args):
        return subprocess.run([self.pmctl, *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="surrogateescape",
                              timeout=3 * PATIENCE, check=False)

    def lines(self, *args):
        return self.run("logs", *args, "--nostream", "--raw").stdout.splitlines()

    def follow(self, *args):
        return subprocess.Popen([self.pmctl, "logs", *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def script(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def read(self, path):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def start(self, script, name, *options, until="out 3\n", file=None):
        r = self.run("start", script, "--name", name, *options)
        wait_until(lambda: until in self.read(file or os.path.join(self.logs, name + "-out.log")), f"{name} to write: {r.stderr}")
