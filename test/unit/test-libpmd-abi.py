#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That libpmd exports what pmd.h declares and nothing else, and that a client can be built with pkg-config alone.
Arguments: the build directory, the compiler."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join(SOURCE_DIR, "src", "libpmd", "pmd.h")


def declared():
    with open(HEADER, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return set(re.findall(r"^[a-z][^;{}()=]*?\b(pmd_[a-z_]+)\(", text, flags=re.M))


def symbols(library, kind):
    out = subprocess.run(["nm", "-D", kind, "--with-symbol-versions", library], stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
    return [line.split()[-1] for line in out.splitlines()]


def exported(library):
    return {name for name in symbols(library, "--defined-only") if name != "LIBPMD_0@@LIBPMD_0" and name != "LIBPMD_0"}


def build_and_run_example(build, compiler, directory):
    """Its output, with no pmd to be found."""
    os.mkdir(os.path.join(directory, "include"))
    shutil.copy(HEADER, os.path.join(directory, "include"))
    libraries = os.path.join(build, "src")

    flags = subprocess.run(
        ["pkg-config", "--define-variable=prefix=" + directory, "--define-variable=libdir=" + libraries, "--cflags", "--libs", "pmd"],
        env=dict(os.environ, PKG_CONFIG_PATH=os.path.join(build, "meson-private"), PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1"),
        stdout=subprocess.PIPE, check=True, encoding="utf-8",
    ).stdout.split()
    program = os.path.join(directory, "client")
    subprocess.run(
        [*compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-o", program, os.path.join(SOURCE_DIR, "examples", "libpmd-client.c"), *flags],
        check=True,
    )
    return subprocess.run(
        [program], env={"LD_LIBRARY_PATH": libraries, "PMD_HOME": os.path.join(directory, "home")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, encoding="utf-8",
    ).stdout


def main():
    build, compiler = os.path.abspath(sys.argv[1]), sys.argv[2:]
    library = os.path.join(build, "src", "libpmd.so.0")
    expected = {name + "@@LIBPMD_0" for name in declared()}
    got = exported(library)

    print("1..3")
    print("ok 1 - pmd.h is understood" if len(expected) > 20 else "not ok 1 - pmd.h is not understood")
    print("ok 2 - exported is what is declared" if got == expected else f"not ok 2 - these differ: {sorted(got ^ expected)}")

    if any("__asan" in name or "__ubsan" in name for name in symbols(library, "--undefined-only")):
        print("ok 3 # SKIP a library with sanitizers needs a program with sanitizers")
        return 0

    with tempfile.TemporaryDirectory(prefix="pmd-abi-") as directory:
        output = build_and_run_example(build, compiler, directory)
    print("ok 3 - the example runs" if output.startswith("Cannot reach pmd: No pmd runs in ") else f"not ok 3 - the example says: {output!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
