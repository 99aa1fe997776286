/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* The apps of the crash storm, which work in the directory they are started in. Each holds a lock; who finds it held notes that in "doubles".
 *
 *   log         prints "PID N" twenty times a second and has the number of lines printed in "lines.NAME.INSTANCE.PID"
 *   fork        has a grandchild in a session of its own, which holds a lock, too
 *   crash       notes its start in "starts.NAME.INSTANCE" and exits with code 3 after a while
 *   stay        notes its start and stays */

static const char *self(void) {
        static char text[256];
        const char *name = getenv("name"), *instance = getenv("NODE_APP_INSTANCE");

        (void) snprintf(text, sizeof text, "%s.%s", name ? name : "app", instance ? instance : "0");
        return text;
}

static int open_file(const char *what, int flags) {
        char path[512];
        int fd;

        (void) snprintf(path, sizeof path, "%s.%s", what, self());
        fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) {
                perror(path);
                exit(EXIT_FAILURE);
        }
        return fd;
}

static void note(int fd) {
        if (write(fd, "x\n", 2) != 2)
                exit(EXIT_FAILURE);
}

static void be_the_only_one(const char *lock) {
        if (flock(open_file(lock, O_RDWR), LOCK_EX | LOCK_NB) >= 0)
                return;
        note(open("doubles", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
        exit(99);
}

static void wait_ms(long ms) {
        (void) nanosleep(&(struct timespec) { ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static void print_lines(void) {
        char what[64], line[64];
        unsigned long n = 0;
        int fd;

        (void) snprintf(what, sizeof what, "lines.%d", (int) getpid());
        fd = open_file(what, O_WRONLY);
        for (;; wait_ms(50)) {
                int k = snprintf(line, sizeof line, "%d %lu\n", (int) getpid(), n);

                if (write(STDOUT_FILENO, line, (size_t) k) != k)
                        exit(EXIT_FAILURE);
                n++;
                if (pwrite(fd, &n, sizeof n, 0) != (ssize_t) sizeof n)
                        exit(EXIT_FAILURE);
        }
}

static void fork_twice(void) {
        pid_t pid = fork();

        if (pid < 0)
                exit(EXIT_FAILURE);
        if (pid > 0)
                return;
        (void) setsid();
        if (fork() != 0)
                _exit(EXIT_SUCCESS);
        (void) prctl(PR_SET_NAME, "storm-child");
        be_the_only_one("child-lock");
        for (;;)
                (void) pause();
}

int main(int argc, char *argv[]) {
        const char *mode = argc > 1 ? argv[1] : "stay";

        be_the_only_one("lock");
        note(open_file("starts", O_WRONLY | O_APPEND));

        if (strcmp(mode, "log") == 0)
                print_lines();
        if (strcmp(mode, "fork") == 0)
                fork_twice();
        if (strcmp(mode, "crash") == 0) {
                srand((unsigned) getpid());
                wait_ms(300 + rand() % 700);
                return 3;
        }
        for (;;)
                (void) pause();
}
