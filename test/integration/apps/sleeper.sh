#!/bin/sh
# SPDX-License-Identifier: MIT
echo "sleeper is up"
echo "sleeper complains" >&2
exec sleep infinity
