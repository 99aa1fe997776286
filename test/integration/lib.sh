# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Boots a real systemd in a container and shows it pmd as it would be installed. To be sourced by a test file, which then
# calls container_boot, makes its checks and ends with done_testing. Output is TAP. One container per test file; several
# files can run side by side.
#
# The root is this machine's, with /usr from an overlay of the installed tree over the host's, and with fresh /etc, /var and
# /run. Nothing of the host is written to.
#
# BOOT_TARGET: the unit that is started (default: basic.target)
# BINDS: directories of the host that stand for some of the container's, HOST:CONTAINER each, and outlive a reboot
#
# Argument: the meson build directory (default: $BUILD, or build in the source tree)
# KEEP, if set: the journal of the container is printed at the end even if all went well

set -u -o pipefail

TEST_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE_DIR=$(cd "$TEST_DIR/../.." && pwd)
BUILD=$(realpath "${1:-${BUILD:-$SOURCE_DIR/build}}")
TEST_NAME=$(basename "$0" .sh)
MACHINE=pmd-$TEST_NAME-$$

BOOT_TARGET=${BOOT_TARGET:-basic.target}
declare -p BINDS >/dev/null 2>&1 || BINDS=()

TEST_USER=tester
TEST_UID=1000

WORK=
NSPAWN_PID=
LEADER=
CGROUP=
N_TESTS=0
N_FAILED=0

# ---- TAP ----

diag() {
        sed 's/^/# /' <<<"$*"
}

skip_all() {
        echo "1..0 # SKIP $*"
        exit 0
}

bail_out() {
        echo "Bail out! $*"
        exit 1
}

result() { # STATUS NAME [OUTPUT]
        N_TESTS=$((N_TESTS + 1))
        if [ "$1" -eq 0 ]; then
                echo "ok $N_TESTS - $2"
                return 0
        fi
        N_FAILED=$((N_FAILED + 1))
        echo "not ok $N_TESTS - $2"
        [ -z "${3-}" ] || diag "$3"
        return 1
}

# The command succeeds.
check() { # NAME COMMAND…
        local name=$1 output status
        shift
        output=$("$@" 2>&1)
        status=$?
        result $status "$name" "$*: exit status $status
$output"
}

# The command fails.
check_fails() { # NAME COMMAND…
        local name=$1 output status
        shift
        output=$("$@" 2>&1)
        status=$?
        result $((status == 0)) "$name" "$*: succeeded
$output"
}

# The output of the command, standard error included, has a line that matches.
check_output() { # NAME EXTENDED_REGEX COMMAND…
        local name=$1 regex=$2 output
        shift 2
        output=$("$@" 2>&1)
        grep -Eq -- "$regex" <<<"$output"
        result $? "$name" "$*: no line matches $regex
$output"
}

check_no_output() { # NAME EXTENDED_REGEX COMMAND…
        local name=$1 regex=$2 output
        shift 2
        output=$("$@" 2>&1)
        ! grep -Eq -- "$regex" <<<"$output"
        result $? "$name" "$*: a line matches $regex
$output"
}

# An empty value is never what was expected.
check_equal() { # NAME EXPECTED VALUE
        [ -n "$2" ] && [ "$2" = "$3" ]
        result $? "$1" "expected '$2', is '$3'"
}

check_differ() { # NAME A B
        [ -n "$2" ] && [ -n "$3" ] && [ "$2" != "$3" ]
        result $? "$1" "expected two values, got '$2' and '$3'"
}

# Repeats the command until it succeeds. The patience is only for slow machines.
eventually() { # COMMAND…
        local end=$((SECONDS + 30))
        until "$@" >/dev/null 2>&1; do
                [ $SECONDS -lt $end ] || return 1
                sleep 0.1
        done
}

eventually_output() { # EXTENDED_REGEX COMMAND…
        local regex=$1
        shift
        eventually output_matches "$regex" "$@"
}

output_matches() { # EXTENDED_REGEX COMMAND…
        local regex=$1 output
        shift
        output=$("$@" 2>&1)
        grep -Eq -- "$regex" <<<"$output"
}

done_testing() {
        echo "1..$N_TESTS"
        if [ $N_FAILED -gt 0 ] || [ -n "${KEEP-}" ]; then
                diag "$(enter journalctl -b --no-pager -n 100 -o short-monotonic 2>&1)"
        fi
        exit $((N_FAILED > 0))
}

# ---- the container ----

find_cgroup2() {
        findmnt -n -o TARGET -t cgroup2 | head -n1
}

install_product() {
        local dest=$WORK/dest dir

        DESTDIR=$dest meson install -C "$BUILD" --no-rebuild --quiet >"$WORK/install.log" 2>&1 || bail_out "meson install: $(tail -n3 "$WORK/install.log")"

        # Debian's systemd.pc says /lib, which is a link to /usr/lib.
        for dir in bin sbin lib; do
                if [ -d "$dest/$dir" ]; then
                        mkdir -p "$dest/usr/$dir"
                        cp -a "$dest/$dir/." "$dest/usr/$dir/"
                fi
        done
        [ -x "$dest/usr/bin/pmd" ] || [ -n "${HARNESS_ONLY-}" ] || skip_all "no pmd in $BUILD"

        # A prefix for the drop-ins that only the test needs.
        mkdir -p "$dest/usr/lib/systemd/system/user@.service.d"
        cat >"$dest/usr/lib/systemd/system/user@.service.d/50-no-pam.conf" <<-'UNIT'
		[Service]
		PAMName=
		Environment=XDG_RUNTIME_DIR=/run/user/%i DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/%i/bus
	UNIT
}

mount_usr() {
        mkdir -p "$WORK/tmp" "$WORK/usr"
        mount -t tmpfs -o size=256m pmd-test "$WORK/tmp" || bail_out "cannot mount a tmpfs"
        mkdir -p "$WORK/tmp/upper" "$WORK/tmp/work"
        mount -t overlay -o "lowerdir=$WORK/dest/usr:/usr,upperdir=$WORK/tmp/upper,workdir=$WORK/tmp/work" pmd-test "$WORK/usr" ||
                bail_out "cannot mount an overlay"
}

spawn_container() {
        local unified bind binds=()
        for bind in "${BINDS[@]}"; do
                binds+=(--bind="$bind")
        done
        unified=$(find_cgroup2)
        CGROUP=$unified/$MACHINE
        mkdir "$CGROUP" || bail_out "cannot make a cgroup"

        (
                echo $BASHPID >"$CGROUP/cgroup.procs"
                exec env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn -q -D / --volatile=yes --register=no --keep-unit \
                        --private-network -M "$MACHINE" --bind-ro="$WORK/usr:/usr" --bind-ro="$TEST_DIR:/run/test" "${binds[@]}" \
                        --console=pipe -b systemd.unit="$BOOT_TARGET" systemd.mask=systemd-firstboot.service
        ) </dev/null >"$WORK/console.log" 2>&1 &
        NSPAWN_PID=$!

        eventually pgrep -P "$NSPAWN_PID" -x systemd || bail_out "no systemd in the container: $(tail -n5 "$WORK/console.log")"
        LEADER=$(pgrep -P "$NSPAWN_PID" -x systemd)
}

container_boot() {
        [ "$(id -u)" -eq 0 ] || skip_all "needs root"
        command -v systemd-nspawn >/dev/null || skip_all "needs systemd-nspawn (systemd-container)"
        command -v dbus-daemon >/dev/null || skip_all "needs dbus-daemon (dbus)"
        [ -n "$(find_cgroup2)" ] || skip_all "needs a cgroup2 mount"

        WORK=$(mktemp -d "${TMPDIR:-/tmp}/$MACHINE.XXXXXX")
        trap container_cleanup EXIT
        trap 'exit 130' INT TERM

        install_product
        mount_usr
        spawn_container
        wait_until_up
}

wait_until_up() {
        eventually_output 'running|degraded' enter systemctl is-system-running ||
                bail_out "the container does not come up: $(enter systemctl is-system-running 2>&1) $(tail -n5 "$WORK/console.log")"
}

# Power off and on. Only what is in BINDS is as it was.
container_reboot() {
        container_poweroff
        remove_cgroup
        spawn_container
        wait_until_up
}

remove_cgroup() {
        [ -n "$CGROUP" ] || return 0
        echo 1 >"$CGROUP/cgroup.kill"
        [ -z "$NSPAWN_PID" ] || wait "$NSPAWN_PID" 2>/dev/null
        eventually grep -q '^populated 0$' "$CGROUP/cgroup.events"
        find "$CGROUP" -depth -type d -exec rmdir {} \; 2>/dev/null
}

container_poweroff() {
        local end=$((SECONDS + 30))

        [ -n "$LEADER" ] || return 0
        kill -s RTMIN+4 "$LEADER" 2>/dev/null
        while kill -0 "$NSPAWN_PID" 2>/dev/null && [ $SECONDS -lt $end ]; do
                sleep 0.1
        done
        LEADER=
}

container_cleanup() {
        trap '' INT TERM
        container_poweroff
        remove_cgroup
        mountpoint -q "$WORK/usr" && umount "$WORK/usr"
        mountpoint -q "$WORK/tmp" && umount "$WORK/tmp"
        rm -rf "$WORK"
}

# ---- commands inside ----

# Plainly, in the container's namespaces. Such a process is in no unit.
enter() { # COMMAND…
        timeout 60 nsenter -t "$LEADER" -m -u -i -n -p -C -- "$@" </dev/null
}

put_file() { # PATH, content on standard input
        nsenter -t "$LEADER" -m -- sh -c 'mkdir -p "${1%/*}" && cat >"$1"' sh "$1"
}

# Exit status 219: the service manager found no place in the cgroup tree and executed nothing, which happens on a busy host.
as_service() { # OPTION… -- COMMAND…
        local status
        for _ in 1 2 3 4 5; do
                status=0
                enter systemd-run "$@" || status=$?
                [ "$status" = 219 ] || break
                sleep 1
        done
        return "$status"
}

# As a service, as root.
run() { # COMMAND…
        as_service --wait --pipe --quiet --collect -p User=root -p WorkingDirectory=/ \
                -E LANG=C.UTF-8 -E NO_COLOR=1 -- "$@"
}

# As a service of the system, but as the test user: a stranger to the system's pmd.
run_as_user() { # COMMAND…
        as_service --wait --pipe --quiet --collect -p "User=$TEST_USER" -p WorkingDirectory=/ \
                -E LANG=C.UTF-8 -E NO_COLOR=1 -E "XDG_RUNTIME_DIR=/run/user/$TEST_UID" \
                -E "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$TEST_UID/bus" -- "$@"
}

add_user() {
        enter useradd -u "$TEST_UID" -U -m -s /bin/bash "$TEST_USER"
}

# A user manager without logind's and PAM's help.
start_user_manager() {
        enter install -d -m 0700 -o "$TEST_USER" -g "$TEST_USER" "/run/user/$TEST_UID"
        enter systemctl start "user@$TEST_UID.service" || return
        eventually run_as_user busctl --user status org.freedesktop.systemd1
}
