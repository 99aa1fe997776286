/* SPDX-License-Identifier: MIT */
#pragma once

#include <syslog.h>

#include "shared/macro.h"

/* The program's own messages: to standard error, with a "<N>" priority prefix where that is a journal stream, with a
 * time stamp where it is a log file, plain on a terminal. Nothing here allocates. */

void log_setup(void); /* looks at standard error once */
void log_set_max_level(int level); /* LOG_INFO at first */
int log_get_max_level(void);
int log_level_from_string(const char *s);

/* Returns -abs(error), so that "return log_error_errno(r, …)" logs and passes the error on; %m is the error's text. */
int log_full(int level, int error, const char *format, ...) _printf_(3, 4);

#define log_full_errno(level, error, ...)                                               \
        ({                                                                              \
                int _e = (error);                                                       \
                log_get_max_level() >= (level) ? log_full((level), _e, __VA_ARGS__) : -abs(_e); \
        })

#define log_debug(...) ((void) log_full_errno(LOG_DEBUG, 0, __VA_ARGS__))
#define log_info(...) ((void) log_full_errno(LOG_INFO, 0, __VA_ARGS__))
#define log_notice(...) ((void) log_full_errno(LOG_NOTICE, 0, __VA_ARGS__))
#define log_warning(...) ((void) log_full_errno(LOG_WARNING, 0, __VA_ARGS__))
#define log_error(...) ((void) log_full_errno(LOG_ERR, 0, __VA_ARGS__))

#define log_debug_errno(error, ...) log_full_errno(LOG_DEBUG, error, __VA_ARGS__)
#define log_info_errno(error, ...) log_full_errno(LOG_INFO, error, __VA_ARGS__)
#define log_warning_errno(error, ...) log_full_errno(LOG_WARNING, error, __VA_ARGS__)
#define log_error_errno(error, ...) log_full_errno(LOG_ERR, error, __VA_ARGS__)

#define log_oom() log_error_errno(ENOMEM, "Out of memory.")
