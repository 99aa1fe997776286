/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "pmd/requester.h"
#include "shared/fileio.h"
#include "shared/string-util.h"

Requester requester_make(uid_t uid, pid_t pid) {
        Requester q = { .uid = uid, .pid = pid };
        char path[64];
        ssize_t n;

        if (pid <= 0)
                return q;
        (void) snprintf(path, sizeof path, "/proc/%d/comm", (int) pid);
        n = read_virtual_file_at(AT_FDCWD, path, q.command, sizeof q.command);
        q.command[n > 0 ? strcspn(q.command, "\n") : 0] = 0;
        if (!utf8_is_valid(q.command, strlen(q.command)))
                q.command[0] = 0;
        return q;
}
