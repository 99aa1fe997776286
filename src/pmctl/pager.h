/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"

/* Long output goes through $PMD_PAGER, $SYSTEMD_PAGER, $PAGER or less, if standard output is a terminal. */
typedef struct Pager {
        int pid; /* 0: none */
} Pager;

void pager_open(Pager *p, const Options *o);
void pager_close(Pager *p); /* waits until the reader has had enough */
