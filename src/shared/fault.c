/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/fault.h"

#include "shared/fd-util.h"

static const char *const fault_step_table[_FAULT_STEP_MAX] = {
        [FAULT_FORK] = "fork",
        [FAULT_CGROUP_MAKE] = "cgroup-make",
        [FAULT_CGROUP_REMOVE] = "cgroup-remove",
        [FAULT_SCOPE_START] = "scope-start",
        [FAULT_SCOPE_REPLY] = "scope-reply",
        [FAULT_SCOPE_STOP] = "scope-stop",
        [FAULT_GATE_OPEN] = "gate-open",
        [FAULT_SIGNAL] = "signal",
        [FAULT_KILL] = "kill",
        [FAULT_FD_PUSH] = "fd-push",
        [FAULT_FD_REMOVE] = "fd-remove",
        [FAULT_SOCKET_BIND] = "socket-bind",
        [FAULT_SOCKET_REMOVE] = "socket-remove",
        [FAULT_STATE_WRITE] = "state-write",
        [FAULT_STATE_REMOVE] = "state-remove",
        [FAULT_DEFINITION_WRITE] = "definition-write",
        [FAULT_REQUEST_APPEND] = "request-append",
        [FAULT_REQUEST_REMOVE] = "request-remove",
        [FAULT_SWAP] = "swap",
        [FAULT_RETIRE] = "retire",
        [FAULT_FILE_WRITE] = "file-write",
        [FAULT_FILE_SYNC] = "file-sync",
        [FAULT_FILE_RENAME] = "file-rename",
        [FAULT_DIRECTORY_SYNC] = "directory-sync",
        [FAULT_GENERATION] = "generation",
};

DEFINE_STRING_TABLE(FaultStep, fault_step);

#ifdef FAULT_INJECTION
/* 0: nobody counts. */
static unsigned long count_pass(const char *point) {
        const char *directory = getenv("PMD_FAULT_DIRECTORY");
        _cleanup_close_ int fd = -EBADF;
        char path[4096];
        struct stat st;

        if (!directory || snprintf(path, sizeof path, "%s/%s", directory, point) >= (int) sizeof path)
                return 0;
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, "x", 1) != 1 || fstat(fd, &st) < 0)
                return 0;
        return (unsigned long) st.st_size;
}

void fault_pass(const char *when, FaultStep step) {
        const char *faults = getenv("PMD_FAULT");
        char fault[64];
        unsigned long passes;
        size_t n;

        (void) snprintf(fault, sizeof fault, "%s-%s", when, fault_step_to_string(step));
        passes = count_pass(fault);
        if (!faults || passes == 0)
                return;

        n = strlen(fault);
        n += (size_t) snprintf(fault + n, sizeof fault - n, ":%lu", passes);
        for (const char *f = faults; *f; f += strcspn(f, ","), f += *f == ',')
                if (strcspn(f, ",") == n && strncmp(f, fault, n) == 0)
                        (void) kill(getpid(), SIGKILL);
}
#endif
