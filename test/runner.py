# SPDX-License-Identifier: MIT
"""Runs every test program, several at a time, and counts what they say in TAP.

A program that dies, says less than it planned, or says nothing counts as a failure of its own.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLAIN, SANITIZED, FAULT, FUZZ = (os.path.join(ROOT, "build-" + b) for b in ("test", "sanitize", "fault", "fuzz"))
FUZZ_SECONDS = 10
PROGRAM_TIMEOUT = 600
SPAWNING = [f"test-{name}{suffix}" for name in ("process-spawn", "spawn-errors", "spawn-fds", "spawn-memory") for suffix in ("", "-places")]
UNSANITIZED = (*SPAWNING, "test-runner")  # what they are about, or was in their way, is not done under sanitizers


def build_of(program, otherwise):
    return FAULT if os.path.basename(program).startswith("test-fault.") else otherwise


def programs():
    """Name, command and environment of each test program; the long ones first, so that the end is not one long wait."""
    yield from ((os.path.basename(p), ["python3", p, PLAIN], {}) for p in sorted(glob.glob(f"{ROOT}/test/kernel/test-*.py")))
    yield from ((os.path.basename(p), ["bash", p, build_of(p, PLAIN)], {}) for p in sorted(glob.glob(f"{ROOT}/test/integration/test-*.sh")))
    yield from (("parity " + os.path.basename(p), ["python3", p, PLAIN], {}) for p in sorted(glob.glob(f"{ROOT}/test/parity/test-*.py")))
    yield from ((os.path.basename(p), ["python3", p, build_of(p, SANITIZED)], {}) for p in sorted(glob.glob(f"{ROOT}/test/bus/test-*.py")))
    yield from ((os.path.basename(p), [p, f"-max_total_time={FUZZ_SECONDS}", "-rss_limit_mb=2048", "-verbosity=0", *corpora(p)], {"FUZZER": "1"})
                for p in sorted(glob.glob(f"{FUZZ}/test/fuzz-*")) if os.path.isfile(p) and os.access(p, os.X_OK))
    yield from ((os.path.basename(p), [p], {}) for p in sorted(glob.glob(f"{SANITIZED}/test/test-*")) if os.path.isfile(p) and os.access(p, os.X_OK))
    yield from ((p, [os.path.join(PLAIN, "test", p)], {}) for p in UNSANITIZED)
    yield from ((os.path.basename(p), ["python3", p, PLAIN], {}) for p in sorted(glob.glob(f"{ROOT}/test/source/test-*.py")))


def corpora(program):
    """What earlier runs have found, then what is kept for good: the fuzzer begins with all of it."""
    name = os.path.basename(program)
    path, kept = os.path.join(FUZZ, "corpus", name), os.path.join(ROOT, "test/fuzz/corpus", name)
    os.makedirs(path, exist_ok=True)
    return [path, kept] if os.path.isdir(kept) else [path]


def count(name, output, status):
    """(passed, failed, lines to show)"""
    results = re.findall(r"^(ok|not ok)\b", output, re.M)
    passed, failed = results.count("ok"), results.count("not ok")
    plan = re.search(r"^1\.\.(\d+)", output, re.M)
    if not plan or int(plan.group(1)) != len(results):
        failed += 1
        output += f"\n# {name}: the plan was not kept"
    elif status != 0 and failed == 0:
        failed += 1
        output += f"\n# {name}: exit status {status}"
    return passed, failed, output


def run(program):
    name, command, extra = program
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1", **extra)
    for variable in ("PMD_HOME", "PM2_HOME", "PMD_RUNNER", "NOTIFY_SOCKET"):
        env.pop(variable, None)
    start = time.monotonic()
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PROGRAM_TIMEOUT)
        output, status = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as e:
        output, status = (e.stdout or b"").decode(errors="replace") + f"\n# {name}: did not end within {PROGRAM_TIMEOUT} s", -1
    if "FUZZER" in extra:
        output += f"\n{'ok' if status == 0 else 'not ok'} 1 - {name} for {FUZZ_SECONDS} s\n1..1\n"
    return name, time.monotonic() - start, *count(name, output, status)


def main():
    chosen = [p for p in programs() if not sys.argv[1:] or any(word in p[0] for word in sys.argv[1:])]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run, p) for p in chosen]):
            name, seconds, ok, bad, output = future.result()
            passed, failed = passed + ok, failed + bad
            print(f"{'FAIL' if bad else 'pass'}  {name}: {ok} passed, {bad} failed ({seconds:.1f} s)", flush=True)
            if bad:
                print("".join(f"      {line}\n" for line in output.splitlines()), end="", flush=True)
    if passed + failed == 0:
        print("No test matches.")
        failed = 1
    print(f"{passed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
