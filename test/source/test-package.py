# SPDX-License-Identifier: MIT
"""What a distribution's packager checks: licences, manual pages, units, XML, the header, and the options of the build. Argument: a build directory."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from checks import ROOT, check, done, read, skip

BUILD = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(ROOT, "build")
NO_LICENCE = re.compile(r"LICENSE|\.\w[\w.-]*(/.*)?|.*\.md|test/fuzz/corpus/.*|build.*|.*__pycache__.*")


def said(*command):
    """What a checker has to say; it says nothing if all is well."""
    ended = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return ended.stdout.splitlines() or ([f"{command[0]}: exit status {ended.returncode}"] if ended.returncode else [])


def sources():
    for directory, names, files in os.walk(ROOT):
        inside = os.path.relpath(directory, ROOT)
        names[:] = [name for name in names if not NO_LICENCE.fullmatch(os.path.normpath(os.path.join(inside, name)))]
        yield from (path for path in (os.path.normpath(os.path.join(inside, name)) for name in files) if not NO_LICENCE.fullmatch(path))


def unlicensed(path):
    with open(os.path.join(ROOT, path), errors="replace", encoding="utf-8") as f:
        return "SPDX-License-Identifier: MIT" not in "".join(line for _, line in zip(range(5), f))


def check_licences():
    paths = list(sources())
    check("there are sources", [] if len(paths) > 300 else [str(len(paths))])
    check("each says what its licence is", sorted(path for path in paths if unlicensed(path)))


def check_options():
    options = re.findall(r"^option\('([\w-]+)'", read("meson_options.txt"), re.M)
    build = "".join(read(path) for path in sources() if path.endswith("meson.build"))
    check("each option of the build is used", [o for o in options if f"get_option('{o}')" not in build] if options else ["no options"])


def check_manuals():
    pages = sorted(glob.glob(os.path.join(ROOT, "man/*.[1-8]")))
    check("there are manual pages", [] if len(pages) >= 4 else pages)
    check("a page with tables says so", [p for p in pages if "\n.TS" in read(p) and not read(p).startswith("'\\\" t\n")])
    if not shutil.which("groff"):
        return skip("manual pages are clean", "needs groff")
    check("manual pages are clean at 80 columns", [line for p in pages for line in said("groff", "-Tutf8", "-man", "-t", "-ww", "-z", "-rLL=78n", p)])


def check_xml():
    paths = [p for p in sources() if p.startswith(("dbus/", "polkit/")) and read(p).lstrip().startswith("<")]
    check("XML files are well-formed", [line for p in paths for line in said("xmllint", "--noout", p)] if len(paths) == 3 else paths)


def check_header():
    """In the languages that it may be included from; a comma at the end of an enum is C99 and C++11."""
    with tempfile.TemporaryDirectory() as directory:
        for suffix, standards in (("c", ("c99", "c11", "c17")), ("cc", ("c++11", "c++20"))):
            path = os.path.join(directory, "include." + suffix)
            with open(path, "w", encoding="utf-8") as f:
                f.write("#include <pmd.h>\n")
            for standard in standards:
                check(f"pmd.h alone is {standard}",
                      said("g++" if suffix == "cc" else "gcc", f"-std={standard}", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                           "-I" + os.path.join(ROOT, "src/libpmd"), path))


def check_units():
    """Against the programs of the build, as those of the package are not installed."""
    if not shutil.which("systemd-analyze"):
        return skip("units are valid", "needs systemd-analyze")
    with tempfile.TemporaryDirectory() as directory:
        for kind, unit in (("system", "units/pmd.service.in"), ("user", "units/user/pmd.service.in")):
            path = os.path.join(directory, kind, "pmd.service")
            os.mkdir(os.path.dirname(path))
            with open(path, "w", encoding="utf-8") as f:
                f.write(re.sub(r"^Documentation=.*\n", "", read(unit), flags=re.M).replace("@bindir@", os.path.join(BUILD, "src")))
            lines = said("systemd-analyze", f"--{kind}", "verify", "--recursive-errors=no", path)
            check(f"the {kind}'s unit is valid", [line for line in lines if "pmd.service" in line])


def check_installed():
    listed = subprocess.run(["meson", "introspect", "--installed", BUILD], stdout=subprocess.PIPE, check=True)
    paths = json.loads(listed.stdout).values()
    for wanted in ("/bin/pmd", "/bin/pmctl", "/lib/pmd/pmd-keeper", "/include/pmd.h", "/bash-completion/completions/pmctl", "/zsh/site-functions/_pmctl",
                   "/fish/vendor_completions.d/pmctl.fish", "/dbus-1/system.d/org.pmd1.conf", "/polkit-1/actions/org.pmd1.policy", "/catalog/pmd.catalog"):
        check(f"{wanted} is installed", [] if any(path.endswith(wanted) for path in paths) else [wanted])


def main():
    check_licences()
    check_options()
    check_manuals()
    check_xml()
    check_header()
    check_units()
    check_installed()
    return done()


sys.exit(main())
