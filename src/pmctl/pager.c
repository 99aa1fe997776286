/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pmctl/pager.h"
#include "shared/fd-util.h"
#include "shared/string-util.h"

/* NULL: none is wanted. */
static const char *find_pager(void) {
        static const char *const names[] = { "PMD_PAGER", "SYSTEMD_PAGER", "PAGER" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const char *pager = getenv(names[i]);

                if (pager)
                        return isempty(pager) || streq(pager, "cat") ? NULL : pager;
        }
        return "less || more || cat";
}

_noreturn_ static void run_pager(const char *pager, int fd) {
        const char *less = getenv("PMD_LESS") ?: getenv("SYSTEMD_LESS");

        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (dup2(fd, STDIN_FILENO) < 0 || setenv("LESS", less ?: "FRSXMK", true) < 0)
                _exit(127);
        (void) execl("/bin/sh", "sh", "-c", pager, NULL);
        _exit(127);
}

void pager_open(Pager *p, const Options *o) {
        _cleanup_close_pair_ int fds[2] = EBADF_PAIR;
        const char *pager = find_pager();
        pid_t pid;

        if (o->no_pager || !pager || !isatty(STDOUT_FILENO) || streq_ptr(getenv("TERM"), "dumb") || pipe2(fds, O_CLOEXEC) < 0)
                return;

        (void) fflush(stdout);
        pid = fork();
        if (pid < 0)
                return;
        if (pid == 0)
                run_pager(pager, fds[0]);

        if (dup2(fds[1], STDOUT_FILENO) < 0) {
                (void) kill(pid, SIGTERM);
                (void) waitpid(pid, NULL, 0);
                return;
        }
        (void) signal(SIGINT, SIG_IGN); /* it is for the pager */
        p->pid = pid;
}

void pager_close(Pager *p) {
        if (p->pid == 0)
                return;

        (void) fflush(stdout);
        (void) close(STDOUT_FILENO);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        p->pid = 0;
}
