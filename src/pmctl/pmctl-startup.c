/* SPDX-License-Identifier: MIT */
#include <pwd.h>
#include <spawn.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "pmctl/pmctl-util.h"
#include "shared/instance.h"
#include "shared/string-util.h"
#include "shared/strv.h"

extern char **environ;

typedef struct Startup {
        const Options *options;
        bool undo;
        char *user;       /* whose pmd it is, NULL: the system's */
        uid_t uid;
        bool own;         /* that of the caller */
} Startup;

/* ---- where it works ---- */

/* pm2's words for what it knows. */
static const char *const systemd_words[] = { "systemd", "ubuntu", "centos", "arch", "oracle", "debian", "fedora", NULL };
static const char *const other_words[] = {
        "upstart", "ubuntu12", "ubuntu14", "systemv", "amazon", "centos6", "launchd", "darwin", "macos", "rcd", "freebsd",
        "rcd-openbsd", "openbsd", "openrc", "smf", "sunos", "solaris", NULL,
};

static int check_platform(const Options *o, const char *word) {
        _cleanup_free_ char *escaped = NULL;

        if (!word || strv_contains((char *const *) systemd_words, word))
                return EXIT_CODE_OK;

        escaped = string_escape_cc(word);
        if (strv_contains((char *const *) other_words, word)) {
                message_error(o, "pmd is started at boot by systemd only, not by %s; have it run: pmd --private --resurrect",
                              strempty(escaped));
                return EXIT_CODE_FAILED;
        }
        message_error(o, "Unknown platform / init system name: %s", strempty(escaped));
        return EXIT_CODE_USAGE;
}

static int check_systemd(const Options *o) {
        if (sd_booted() > 0) {
                message_info(o, "Init System found: systemd");
                return EXIT_CODE_OK;
        }
        message_error(o, "No systemd runs here, and nothing else starts pmd when the machine boots. In a container make pmd its "
                         "entry point: pmd --keeper --private=DIR --resurrect");
        return EXIT_CODE_FAILED;
}

static int check_scope(const Options *o) {
        pmd_scope scope = o->scope;

        if (scope == PMD_SCOPE_AUTO && instance_scope_default() == INSTANCE_PRIVATE)
                scope = PMD_SCOPE_PRIVATE;
        if (scope != PMD_SCOPE_PRIVATE)
                return EXIT_CODE_OK;

        message_error(o, "A private pmd has no service. Choose --system or --user, or write a service of your own that runs: "
                         "pmd --keeper --private=DIR --resurrect");
        return EXIT_CODE_FAILED;
}

/* ---- whose ---- */

/* "-u USER", which to start is the user of an app. */
static const char *user_of_options(const Options *o) {
        const char *user = NULL;

        for (size_t i = 0; i < o->n_app_flags; i++)
                if (streq(o->app_flags[i].option->key, "user"))
                        user = o->app_flags[i].value;
        return user;
}

static int find_user(Startup *s) {
        const Options *o = s->options;
        const char *name = user_of_options(o);
        const struct passwd *pw;

        if (o->scope == PMD_SCOPE_SYSTEM || (!name && o->scope != PMD_SCOPE_USER && geteuid() == 0))
                return EXIT_CODE_OK;

        pw = name ? getpwnam(name) : getpwuid(geteuid());
        if (!pw) {
                _cleanup_free_ char *escaped = string_escape_cc(name ?: "who runs this");

                message_error(o, "User %s cannot be found", strempty(escaped));
                return EXIT_CODE_FAILED;
        }
        /* pm2's "startup -u root" is the system's. */
        if (name && pw->pw_uid == 0 && o->scope != PMD_SCOPE_USER)
                return EXIT_CODE_OK;

        s->own = pw->pw_uid == geteuid();
        if (!s->own && geteuid() != 0) {
                message_error(o, "Only root can do that for another user. Run: sudo pmctl %s systemd -u %s",
                              s->undo ? "unstartup" : "startup", pw->pw_name);
                return EXIT_CODE_NO_PERMISSION;
        }
        s->uid = pw->pw_uid;
        s->user = strdup(pw->pw_name);
        return s->user ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

/* ---- what is done ---- */

static int run_command(const Options *o, const char *const *argv) {
        _cleanup_free_ char *line = strv_join((char *const *) argv, " ");
        int r, status;
        pid_t pid;

        message_info(o, "[-] Executing: %s...", strempty(line));
        (void) fflush(stdout);

        r = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *) argv, environ);
        if (r != 0) {
                message_error(o, "Failed to run %s: %s", argv[0], strerror(r));
                return EXIT_CODE_FAILED;
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return EXIT_CODE_FAILED;

        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                message_error(o, "[-] Command failed: %s", strempty(line));
                return EXIT_CODE_FAILED;
        }
        message_info(o, "[v] Command successfully executed.");
        return EXIT_CODE_OK;
}

#define RUN(o, ...) run_command((o), (const char *const[]) { __VA_ARGS__, NULL })

/* Lets the user's service manager run without a login. Users may do so for themselves, unless polkit says no. */
static int enable_linger(const Startup *s) {
        _cleanup_free_ char *unit = NULL;
        int r;

        r = RUN(s->options, "loginctl", "enable-linger", s->user);
        if (r != EXIT_CODE_OK && s->own && geteuid() != 0) {
                message_warn(s->options, "pmd starts when %s logs in, not yet at boot. That needs root: sudo loginctl enable-linger %s",
                             s->user, s->user);
                return EXIT_CODE_NO_PERMISSION;
        }
        if (r != EXIT_CODE_OK || s->own)
                return r;

        unit = strprintf("user@%u.service", (unsigned) s->uid);
        return unit ? RUN(s->options, "systemctl", "start", unit) : EXIT_CODE_FAILED;
}

static int change_unit(const Startup *s) {
        const char *change = s->undo ? "disable" : "enable";
        _cleanup_free_ char *machine = NULL;
        int r;

        if (!s->user) {
                r = RUN(s->options, "systemctl", change, "pmd.service");
                if (r == EXIT_CODE_OK || geteuid() == 0)
                        return r;
                message_warn(s->options, "That needs root: sudo pmctl %s systemd", s->undo ? "unstartup" : "startup");
                return EXIT_CODE_NO_PERMISSION;
        }
        if (s->own)
                return RUN(s->options, "systemctl", "--user", change, "pmd.service");
        machine = strjoin("--machine=", s->user, "@.host");
        return machine ? RUN(s->options, "systemctl", "--user", machine, change, "pmd.service") : EXIT_CODE_FAILED;
}

/* systemctl would only say "No medium found". */
static int check_session(const Startup *s) {
        if (!s->own || getenv("XDG_RUNTIME_DIR"))
                return EXIT_CODE_OK;

        message_error(s->options, "XDG_RUNTIME_DIR is not set, so there is no session here (su and sudo make none). Log in as %s, or have root do it: pmctl %s -u %s",
                      s->user, s->undo ? "unstartup" : "startup", s->user);
        return EXIT_CODE_UNREACHABLE;
}

static int do_startup(const Startup *s) {
        const Options *o = s->options;
        int r, linger = EXIT_CODE_OK;

        if (s->user && !s->own) {
                r = enable_linger(s);
                if (r != EXIT_CODE_OK)
                        return r;
        }
        r = change_unit(s);
        if (r != EXIT_CODE_OK)
                return r;
        if (s->own)
                linger = enable_linger(s);

        message_info(o, "Freeze a process list on reboot via:");
        message_info(o, "$ pmctl save");
        message_info(o, "Remove init script via:");
        message_info(o, "$ pmctl unstartup systemd");
        return linger;
}

static int undo_startup(const Startup *s) {
        int r;

        r = change_unit(s);
        if (r == EXIT_CODE_OK && s->user)
                message_info(s->options, "%s may still have services without a login; to end that: loginctl disable-linger %s",
                             s->user, s->user);
        return r;
}

int verb_startup(int argc, char *argv[], const Options *o) {
        Startup s = { .options = o, .undo = streq(argv[0], "unstartup") };
        int r;

        r = check_platform(o, argv[1]);
        if (r == EXIT_CODE_OK)
                r = check_systemd(o);
        if (r == EXIT_CODE_OK)
                r = check_scope(o);
        if (r == EXIT_CODE_OK)
                r = find_user(&s);
        if (r == EXIT_CODE_OK)
                r = check_session(&s);
        if (r == EXIT_CODE_OK)
                r = s.undo ? undo_startup(&s) : do_startup(&s);

        free(s.user);
        return r;
}
