/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"

/* What is told of a reload: each process when it is done, and what those have said that failed. */

typedef struct LogMark LogMark;

typedef struct ReloadReport {
        const Options *options;
        uint32_t *confirmed;
        size_t n_confirmed, n_confirmed_allocated;
        LogMark *marks; /* where the logs of each process ended before */
        size_t n_marks, n_marks_allocated;
} ReloadReport;

void reload_report_done(ReloadReport *r);

/* Before the request: from now on processes are confirmed. May be called for several lists, then asks once. 0 or a negative errno. */
int reload_report_add(ReloadReport *r, pmd_connection *c, const ProcessList *l);
bool reload_report_has_confirmed(const ReloadReport *r, uint32_t id);
/* Of those that failed. */
void reload_report_show_lines(const ReloadReport *r, pmd_connection *c, const pmd_result *result);
