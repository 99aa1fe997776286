#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What was saved is there again when the machine has booted, and only then.

PERSISTENT=$(mktemp -d "${TMPDIR:-/tmp}/pmd-boot.XXXXXX") || exit 1
echo 0123456789abcdef0123456789abcdef >"$PERSISTENT/machine-id"
mkdir -p "$PERSISTENT/lib" "$PERSISTENT/system" "$PERSISTENT/linger" "$PERSISTENT/home" "$PERSISTENT/journal"
# What of the container a reboot leaves as it is.
BINDS=("$PERSISTENT/lib:/var/lib/pmd" "$PERSISTENT/system:/etc/systemd/system" "$PERSISTENT/linger:/var/lib/systemd/linger"
        "$PERSISTENT/home:/home" "$PERSISTENT/journal:/var/log/journal" "$PERSISTENT/machine-id:/etc/machine-id")
# shellcheck disable=SC2034
BOOT_TARGET=multi-user.target

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

APPS=/run/test/apps

end() {
        container_cleanup
        rm -rf "$PERSISTENT"
}

# ID NAME INSTANCE STATUS of each process, a line each
summary() {
        python3 -c '
import json, sys
for p in sorted(json.load(sys.stdin)["processes"], key=lambda p: p["id"]):
        print(p["id"], p["name"], p["instance"], p["status"])'
}

statuses() {
        run pmctl list --json | summary
}

user_statuses() {
        run_as_user pmctl --user list --json | summary
}

container_boot
trap end EXIT

# ---- save ----

check "start two instances" run pmctl start $APPS/sleeper.sh --name api -i 2
check "another app" run env SECRET=from-before pmctl start $APPS/sleeper.sh --name worker --namespace shop
check "one that is stopped" run pmctl start $APPS/sleeper.sh --name idle
check "of three" run pmctl stop idle
check_output "save" 'Successfully saved in /var/lib/pmd/saved.json' run pmctl save
check "and one that is not saved" run pmctl start $APPS/sleeper.sh --name unsaved
before=$(statuses | grep -v unsaved)

check_output "before startup the service is not enabled" '^disabled$' enter systemctl is-enabled pmd.service
container_reboot
check_output "so after a reboot pmd does not even run" '^inactive$' enter systemctl is-active pmd.service
check_equal "and when it is needed, D-Bus activation restores nothing" "none" "$(statuses | grep . || echo none)"
check_output "unless it is asked to" 'sleeper.sh restored' run pmctl resurrect
check_equal "all as it was" "$before" "$(statuses)"

# ---- startup ----

check_output "startup" '^\[PM2\] Init System found: systemd$' run pmctl startup systemd
check_output "enables the service" '^enabled$' enter systemctl is-enabled pmd.service

# ---- the machine goes down: scopes end before pmd ----

check "an app that ends slowly" run pmctl start $APPS/slow-end.sh --name slow --kill-timeout 10000
check "one that waits to be restarted" run pmctl start /bin/false --name waiting --restart-delay 1000
container_reboot
journal=$(enter journalctl -b -1 --no-pager -o short-monotonic 2>&1)
check_output "the journal of the former boot goes to its end" 'Stopped pmd.service' echo "$journal"
check_output "pmd was told that the machine goes down" 'pmd\[[0-9]+\]: The service manager is about to end' echo "$journal"
down=$(sed -n '/The service manager is about to end/,$p' <<<"$journal")
check_output "before the apps were at their end" 'slow.*has ended well' echo "$down"
check_no_output "and tried to start nothing again, nor took anything for stopped by an operator" \
        '(Started|Failed to start) pm-|pmd\[[0-9]+\]: .*(Failed to|gives up|is being stopped|is online)' echo "$down"
check_output "after a reboot pmd runs" '^active$' enter systemctl is-active pmd.service
check "and the apps do" eventually_output 'worker 0 online' statuses
check_equal "all as it was, with what was stopped stopped" "$before" "$(statuses)"
check_output "with their environment" '^SECRET: from-before$' run pmctl env worker
check_output "in scopes" '^pm-api-0-1\.scope' enter systemctl list-units --plain --no-legend 'pm-api-*.scope'
check_output "the journal says so" 'Restored 4 processes' enter journalctl -b -u pmd.service --no-pager

# ---- not by surprise ----

pid=$(enter systemctl show -p MainPID --value pmd.service)
check "kill pmd" enter kill -KILL "$pid"
another_pmd() { # PID
        local now
        now=$(enter systemctl show -p MainPID --value pmd.service)
        [ "$now" != 0 ] && [ "$now" != "$1" ] && [ "$(enter systemctl is-active pmd.service)" = active ]
}
check "it comes back, as another process" eventually another_pmd "$pid"
run pmctl ping >/dev/null
check_no_output "and has not restored the list once more" 'Restored' enter journalctl -b -u pmd.service --no-pager \
        "_PID=$(enter systemctl show -p MainPID --value pmd.service)"
check_equal "there is one of each" 3 "$(enter pgrep -cf '[s]leep infinity')"

check "pmctl kill" run pmctl kill
check_equal "is meant to last: the next pmd begins with nothing" "none" "$(statuses | grep . || echo none)"
check "systemctl restart" enter systemctl restart pmd.service
check_equal "brings nothing back either" "none" "$(statuses | grep . || echo none)"
check "pmctl resurrect" run pmctl resurrect
check "brings the saved apps back" eventually_output 'worker 0 online' statuses

# ---- settings ----

check_output "set" 'Setting changed' run pmctl set KillTimeout 4000
check_output "is kept in /etc" '^KillTimeout=4000$' enter cat /etc/pmd/pmd.conf.d/50-pmctl.conf
put_file /etc/pmd/pmd.conf <<-'CONF'
	[Manager]
	NoSuchThing=1
CONF
check "systemctl reload" enter systemctl reload pmd.service
check "reads the files again" eventually_output 'NoSuchThing: there is no such setting' enter journalctl -b -u pmd.service --no-pager
check_output "the reload has ended well" '^active$' enter systemctl is-active pmd.service

# ---- unstartup ----

check_output "unstartup" 'Init System found: systemd' run pmctl unstartup
check_output "disables the service" '^disabled$' enter systemctl is-enabled pmd.service
check "and stops nothing" output_matches 'worker 0 online' statuses
container_reboot
check_output "after a reboot pmd does not run" '^inactive$' enter systemctl is-active pmd.service

# ---- a user ----

add_user
enter chown -R "$TEST_USER:" "/home/$TEST_USER"
start_user_manager || bail_out "no user manager"
check "a user starts an app" run_as_user pmctl --user start $APPS/sleeper.sh --name mine
check "one that is stopped" run_as_user pmctl --user start $APPS/sleeper.sh --name idle
check "of two" run_as_user pmctl --user stop idle
check "and saves" run_as_user pmctl --user save
before=$(user_statuses)
check_output "a user may not enable root's, and is told what to run" '^\[PM2\]\[WARN\] That needs root: sudo pmctl startup systemd$' run_as_user pmctl --system startup
check_output "without a session startup tells what to do" "XDG_RUNTIME_DIR is not set.*pmctl startup -u $TEST_USER\$" run_as_user env -u XDG_RUNTIME_DIR pmctl --user startup
check_output "nor disable it" '^\[PM2\]\[WARN\] That needs root: sudo pmctl unstartup systemd$' run_as_user pmctl --system unstartup
check_output "root's is as it was" '^disabled$' enter systemctl is-enabled pmd.service
check_output "nor that of another user" '^\[PM2\]\[ERROR\] Only root can do that for another user. Run: sudo pmctl startup systemd -u daemon$' \
        run_as_user pmctl startup -u daemon
# Who may linger is polkit's to say, so make it say no.
enter mkdir -p /etc/polkit-1/rules.d
put_file /etc/polkit-1/rules.d/10-no-linger.rules <<-'RULES'
	polkit.addRule(function(action, subject) {
	        if (action.id.indexOf("org.freedesktop.login1.set-") == 0 && action.id.indexOf("linger") > 0)
	                return polkit.Result.NO;
	});
RULES
# polkitd reads its rules anew when they change, a moment later.
check "a user who may not linger is told what needs root" \
        eventually_output "That needs root: sudo loginctl enable-linger $TEST_USER\$" run_as_user pmctl --user startup
enter rm /etc/polkit-1/rules.d/10-no-linger.rules
check_output "startup" 'systemctl --user enable pmd.service' run_as_user pmctl --user startup
check_output "enables the service of the user" '^enabled$' run_as_user systemctl --user is-enabled pmd.service
check_output "root can see to it that it starts at boot" 'loginctl enable-linger' run pmctl startup systemd -u "$TEST_USER"
container_reboot
add_user
start_user_manager
check "after a reboot the user's pmd runs" eventually_output '^active$' run_as_user systemctl --user is-active pmd.service
check "and the app does" eventually_output 'mine 0 online' user_statuses
check_equal "all as it was" "$before" "$(user_statuses)"
check_output "unstartup" 'loginctl disable-linger' run_as_user pmctl --user unstartup
check_output "disables the service of the user" '^disabled$' run_as_user systemctl --user is-enabled pmd.service

done_testing
