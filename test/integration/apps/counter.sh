#!/bin/sh
# SPDX-License-Identifier: MIT
# Writes numbered lines, all at once or one in so many seconds, and goes on living.
i=0
while [ "$i" -lt "$1" ]; do
        echo "line $i"
        i=$((i + 1))
        [ -z "${2-}" ] || sleep "$2"
done
exec sleep infinity
