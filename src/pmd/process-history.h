/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/process.h"
#include "pmd/requester.h"

/* Writes down what happens to processes, for GetHistory() and "pmctl why". */

void process_history_changed(Process *p, ProcessField changed);

/* pid 0: it is not known who asked. */
void process_history_request(Process *p, const char *what, const Requester *by);

/* The new process failed, and the old one, p, goes on. */
void process_history_reload_failed(Process *p, const char *why);

void process_history_trigger(Process *p, const char *what);
