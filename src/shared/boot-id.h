/* SPDX-License-Identifier: MIT */
#pragma once

#include <systemd/sd-id128.h>

#include "shared/macro.h"

/* The boot that pids, monotonic times and what lies in runtime directories belong to, as text. */
int boot_id_get(char buf[static SD_ID128_STRING_MAX]);
bool boot_id_is_current(const char *text); /* NULL: no */
