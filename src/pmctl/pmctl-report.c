/* SPDX-License-Identifier: MIT */
#include <sys/utsname.h>
#include <unistd.h>

#include "config.h"
#include "pmctl/pmctl-util.h"
#include "shared/fileio.h"
#include "shared/string-util.h"

/* So many of pmd's last messages. */
#define MESSAGES_SIZE 4096U

static void print_variable(const char *name) {
        _cleanup_free_ char *value = string_escape_cc(strempty(getenv(name)));

        if (getenv(name))
                printf("%-14s %s\n", name, strempty(value));
}

static void print_system(void) {
        _cleanup_free_ char *release = NULL;
        struct utsname u = {};
        char *line, *end;

        (void) uname(&u);
        printf("%-14s %s %s %s\n", "kernel", u.sysname, u.release, u.machine);
        if (read_full_file("/etc/os-release", &release, NULL) >= 0 && (line = strstr(release, "PRETTY_NAME="))) {
                end = line + strcspn(line, "\n");
                printf("%-14s %.*s\n", "system", (int) (end - line) - (int) STRLEN("PRETTY_NAME="), line + STRLEN("PRETTY_NAME="));
        }
        printf("%-14s %s\n", "systemd runs", access("/run/systemd/system", F_OK) >= 0 ? "yes" : "no");
        printf("%-14s %s\n", "cgroup v2", access("/sys/fs/cgroup/cgroup.controllers", F_OK) >= 0 ? "yes" : "no");
        printf("%-14s %u\n", "user id", geteuid());
        print_variable("PMD_HOME");
        print_variable("PM2_HOME");
        print_variable("PMD_RUNNER");
}

/* Of a private pmd; those of the others are in the journal. */
static void print_messages(pmd_connection *c) {
        _cleanup_free_ char *path = NULL, *text = NULL, *escaped = NULL;
        size_t n;

        if (pmd_get_scope(c) != PMD_SCOPE_PRIVATE) {
                printf("\nIts messages: journalctl -u pmd -n 20\n");
                return;
        }
        path = strjoin(pmd_get_home(c), "/pmd.log");
        if (!path || read_full_file(path, &text, &n) < 0)
                return;
        printf("\nIts last messages (%s):\n", path);
        for (char *line = text + (n > MESSAGES_SIZE ? n - MESSAGES_SIZE : 0); *line;) {
                size_t length = strcspn(line, "\n");
                char *next = line + length + (line[length] == '\n');

                line[length] = 0;
                free(escaped);
                escaped = string_escape_cc(line);
                printf("  %s\n", strempty(escaped));
                line = next;
        }
}

int verb_report(int argc, char *argv[], const Options *o) {
        static const char *const scopes[] = { [PMD_SCOPE_SYSTEM] = "system", [PMD_SCOPE_USER] = "user", [PMD_SCOPE_PRIVATE] = "private" };
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_free_ char *version = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r;

        printf("%-14s %s\n", "pmctl", PMD_VERSION);
        print_system();

        /* A report of a pmd that was started for it would be of no use. */
        r = pmd_open(o->scope, o->home, PMD_OPEN_NO_START | PMD_OPEN_INTERACTIVE, &c, &e);
        if (r < 0) {
                printf("%-14s does not answer: %s\n", "pmd", e.message ?: strerror(-r));
                return EXIT_CODE_OK;
        }
        (void) pmd_get_version(c, &version, &e);
        printf("%-14s %s, %s instance, %s\n", "pmd", strna(version), strna(scopes[pmd_get_scope(c)]), strna(pmd_get_home(c)));
        r = print_process_table(o, c);
        if (r == EXIT_CODE_OK)
                print_messages(c);
        return r;
}
