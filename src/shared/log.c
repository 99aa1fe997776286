/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "shared/log.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

static int max_level = LOG_INFO;
static enum { PREFIX_NONE, PREFIX_PRIORITY, PREFIX_TIME } prefix = PREFIX_NONE;

void log_setup(void) {
        const char *e = getenv("JOURNAL_STREAM"), *level = getenv("PMD_LOG_LEVEL");
        unsigned long long dev, ino;
        struct stat st;

        if (fstat(STDERR_FILENO, &st) >= 0) {
                if (e && sscanf(e, "%llu:%llu", &dev, &ino) == 2 && st.st_dev == dev && st.st_ino == ino)
                        prefix = PREFIX_PRIORITY;
                else if (S_ISREG(st.st_mode))
                        prefix = PREFIX_TIME;
        }

        if (level) {
                int l = log_level_from_string(level);

                if (l < 0)
                        log_warning("PMD_LOG_LEVEL=%s is no log level (emerg … debug or 0 … 7), ignoring.", level);
                else
                        max_level = l;
        }
}

void log_set_max_level(int level) {
        max_level = level;
}

int log_get_max_level(void) {
        return max_level;
}

int log_level_from_string(const char *s) {
        static const char *const names[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" };
        unsigned u;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(names[i], s))
                        return (int) i;
        if (safe_atou(s, &u) >= 0 && u <= LOG_DEBUG)
                return (int) u;
        return -EINVAL;
}

int log_full(int level, int error, const char *format, ...) {
        char head[64] = "", body[2048];
        int saved = errno, n;
        va_list ap;

        if (level > max_level)
                return -abs(error);

        errno = abs(error);
        va_start(ap, format);
        n = vsnprintf(body, sizeof body, format, ap);
        va_end(ap);
        if (n < 0)
                n = 0;
        if ((size_t) n >= sizeof body)
                n = sizeof body - 1;

        if (prefix == PREFIX_PRIORITY)
                (void) snprintf(head, sizeof head, "<%d>", level);
        else if (prefix == PREFIX_TIME) {
                time_t t = time(NULL);
                struct tm tm;

                if (localtime_r(&t, &tm))
                        (void) strftime(head, sizeof head, "%Y-%m-%dT%H:%M:%S%z ", &tm);
        }

        /* One writev: lines of two threads do not mix. There is nobody to tell when it fails. */
        (void) !writev(STDERR_FILENO,
                       (struct iovec[]) { { head, strlen(head) }, { body, (size_t) n }, { (char *) "\n", 1 } }, 3);

        errno = saved;
        return -abs(error);
}
