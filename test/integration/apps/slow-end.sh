#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Takes three seconds to end.

trap 'sleep 3; echo "slow has ended well"; exit 0' INT TERM
while :; do
        sleep 0.2
done
