#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What shells complete of pmctl's command line, asked of the shells. Argument: the build directory."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

from pmctltest import OK, expect, run_checks
from pmdtest import PATIENCE

COMPLETIONS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "completions")


def start_app(pm):
    return pm.run("start", "/bin/sleep", "--name", "web-front", "--", "1000")


def shell_env(pm):
    return {**pm.env, "PATH": os.path.dirname(pm.pmctl) + ":" + pm.env["PATH"], "TERM": "dumb", "XDG_CONFIG_HOME": os.path.join(pm.dir, "config")}


# command line, what must be among the words, what must not
CASES = (
    ("pmctl resu", ["resurrect"], ["restart"]),
    ("pmctl restart we", ["web-front"], []),
    ("pmctl set Kill", ["KillTimeout"], ["web-front"]),
    ("pmctl help resu", ["resurrect"], ["web-front"]),
    ("pmctl start --kill-t", ["--kill-timeout"], []),
)


def bash_words(pm, line):
    script = 'compopt() { :; }; source "$1"; COMP_WORDS=($2); [[ $2 == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$2; COMP_POINT=${#2}\n' \
             '$(complete -p pmctl | sed -n "s/.*-F \\([^ ]*\\).*/echo \\1/p" | sh); printf "%s\\n" "${COMPREPLY[@]}"'
    r = subprocess.run(["bash", "-c", script, "bash", os.path.join(COMPLETIONS, "pmctl.bash"), line], env=shell_env(pm), cwd=pm.dir, stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=PATIENCE, check=False)
    return [word.strip() for word in r.stdout.splitlines()], r.stderr


def fish_words(pm, line):
    r = subprocess.run(["fish", "--no-config", "-c", 'source $argv[1]; complete -C $argv[2]', os.path.join(COMPLETIONS, "pmctl.fish"), line], env=shell_env(pm),
                       cwd=pm.dir, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return [word.split("\t")[0] for word in r.stdout.splitlines()], r.stderr


def check_words(tap, pm, shell, complete):
    if not shutil.which(shell):
        tap.check(True, f"{shell} # SKIP there is none")
        return
    for line, wanted, unwanted in CASES:
        words, errors = complete(pm, line)
        tap.check(all(w in words for w in wanted) and not any(w in words for w in unwanted) and not errors, f"{shell}: {line}", f"{words}\n{errors}")


class Zsh:
    """An interactive one, on a terminal of its own."""

    def __init__(self, pm):
        self.output = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(pm.dir)
            os.execvpe("zsh", ["zsh", "-f", "-i"], shell_env(pm))
        self.type("PS1=; unsetopt zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste; stty -echo\n")
        self.type(f"fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -d {pm.dir}/zcompdump; print READ''Y\n")
        self.wait_for("READY")

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait_for(self, pattern):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.output):
            if time.monotonic() > end or not select.select([self.fd], [], [], PATIENCE)[0]:
                return False
            try:
                self.output += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                return False
        return True

    def complete(self, line, wanted):
        self.output = ""
        self.type(line + "\t")
        found = self.wait_for(re.escape(wanted))
        self.type("\025")
        return found


def check_bash(tap, pm):
    expect(tap, start_app(pm), OK, "an app")
    check_words(tap, pm, "bash", bash_words)


def check_fish(tap, pm):
    check_words(tap, pm, "fish", fish_words)


def check_zsh(tap, pm):
    if not shutil.which("zsh"):
        tap.check(True, "zsh # SKIP there is none")
        return
    zsh = Zsh(pm)
    for line, wanted, _ in CASES:
        # What was typed is on the screen already; the rest of the word is not.
        begin = line.rsplit(" ", 1)[1]
        tap.check(zsh.complete(line, wanted[0][len(begin):]), f"zsh: {line}", zsh.output)
    zsh.close()


sys.exit(run_checks((check_bash, check_fish, check_zsh)))
