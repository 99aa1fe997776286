/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "config.h"
#include "pmd/foreground.h"
#include "pmd/keeper.h"
#include "pmd/manager-boot.h"
#include "pmd/manager.h"
#include "shared/fd-util.h"
#include "shared/instance.h"
#include "shared/log.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"

static InstanceScope arg_scope = _INSTANCE_SCOPE_INVALID;
static const char *arg_home = NULL;
static const char *arg_runner = NULL;
static bool arg_resurrect = false;
static bool arg_keeper = false;
static bool arg_console = false;
static bool arg_auto_exit = true;
static char **arg_foreground = NULL; /* what "pmctl start" is to be given, NULL: nothing */
static const char *arg_log_level = NULL;

static int help(void) {
        printf("%s [OPTIONS…]\n\n"
               "Process manager daemon. It is started by D-Bus activation or by pmctl(1); nobody needs to call it.\n\n"
               "     --system             Serve the system: system bus, PID 1, journal\n"
               "     --user               Serve the calling user: session bus, user manager, journal\n"
               "     --private[=DIR]      Serve below a directory (default: $PMD_HOME, ~/.pmd): no bus, no systemd, log files\n"
               "     --runner=KIND        Keep processes together by \"scope\", \"cgroup\" or \"plain\" (default: the first that works)\n"
               "     --log-level=LEVEL    emerg … debug\n"
               "     --resurrect          Restore the saved list, at the first start since the machine booted\n"
               "     --keeper             Run pmd as a child that is started again when it dies, and loses nothing by it\n"
               "     --console            Lines of apps go to standard output and error, unless a definition says otherwise\n"
               "     --foreground FILE…   Start these apps, as pmctl start with all that follows; end when they have ended\n"
               "     --no-auto-exit       With --foreground: serve on when all apps have ended\n"
               "  -h --help               Show this help\n"
               "     --version            Show the version\n\n"
               "Exit codes: 0 ended on request, 1 failure, 2 wrong usage, 75 another pmd serves already;\n"
               "with --foreground that of the app, or of the first that did not end well.\n",
               program_invocation_short_name);
        return 0;
}

static int parse_log_level(const char *s) {
        int level = log_level_from_string(s);

        if (level < 0)
                return log_error_errno(EINVAL, "'%s' is no log level (emerg, alert, crit, err, warning, notice, info, debug).", s);
        log_set_max_level(level);
        return 0;
}

static int set_scope(InstanceScope scope) {
        if (arg_scope >= 0 && arg_scope != scope)
                return log_error_errno(EINVAL, "Only one of --system, --user and --private can be given.");
        arg_scope = scope;
        return 0;
}

/* 1: go on, 0: done, < 0: wrong usage. */
static int parse_argv(int argc, char *argv[]) {
        enum { ARG_SYSTEM = 0x100, ARG_USER, ARG_PRIVATE, ARG_RUNNER, ARG_LOG_LEVEL, ARG_RESURRECT, ARG_KEEPER, ARG_CONSOLE,
               ARG_FOREGROUND, ARG_NO_AUTO_EXIT, ARG_VERSION };
        static const struct option options[] = {
                { "system", no_argument, NULL, ARG_SYSTEM },
                { "user", no_argument, NULL, ARG_USER },
                { "private", optional_argument, NULL, ARG_PRIVATE },
                { "runner", required_argument, NULL, ARG_RUNNER },
                { "log-level", required_argument, NULL, ARG_LOG_LEVEL },
                { "resurrect", no_argument, NULL, ARG_RESURRECT },
                { "keeper", no_argument, NULL, ARG_KEEPER },
                { "console", no_argument, NULL, ARG_CONSOLE },
                { "foreground", no_argument, NULL, ARG_FOREGROUND },
                { "no-auto-exit", no_argument, NULL, ARG_NO_AUTO_EXIT },
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                {},
        };
        int c, r = 0;

        arg_runner = getenv("PMD_RUNNER");

        while (r >= 0 && !arg_foreground && (c = getopt_long(argc, argv, "+h", options, NULL)) >= 0)
                switch (c) {

                case 'h':
                        return help();

                case ARG_VERSION:
                        puts(PMD_VERSION);
                        return 0;

                case ARG_SYSTEM:
                        r = set_scope(INSTANCE_SYSTEM);
                        break;

                case ARG_USER:
                        r = set_scope(INSTANCE_USER);
                        break;

                case ARG_PRIVATE:
                        arg_home = optarg;
                        r = set_scope(INSTANCE_PRIVATE);
                        break;

                case ARG_RUNNER:
                        arg_runner = optarg;
                        break;

                case ARG_LOG_LEVEL:
                        r = parse_log_level(optarg);
                        arg_log_level = optarg;
                        break;

                case ARG_RESURRECT:
                        arg_resurrect = true;
                        break;

                case ARG_KEEPER:
                        arg_keeper = true;
                        break;

                case ARG_CONSOLE:
                        arg_console = true;
                        break;

                case ARG_FOREGROUND:
                        arg_foreground = argv + optind;
                        break;

                case ARG_NO_AUTO_EXIT:
                        arg_auto_exit = false;
                        break;

                default:
                        return -EINVAL;
                }
        if (r < 0)
                return r;
        if (arg_foreground && arg_scope < 0)
                arg_scope = INSTANCE_PRIVATE;
        if (arg_foreground && arg_scope != INSTANCE_PRIVATE)
                return log_error_errno(EINVAL, "--foreground is for a private pmd; where systemd runs, pmctl start will do.");
        if (optind < argc && !arg_foreground)
                return log_error_errno(EINVAL, "'%s' is not expected; pmd takes no arguments.", argv[optind]);

        if (arg_scope < 0)
                arg_scope = instance_scope_default();
        return 1;
}

/* sd-event and the reaper want these blocked, and threads inherit the mask. */
static int block_signals(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGUSR2);
        sigaddset(&set, SIGRTMIN + 1);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -errno : 0;
}

static int make_instance(Instance **ret) {
        int r;

        r = instance_new(arg_scope, arg_home, ret);
        if (r == -ENXIO)
                return log_error_errno(r, "Neither HOME nor XDG_RUNTIME_DIR tell where to serve; set PMD_HOME.");
        return r < 0 ? log_oom() : 0;
}

static int become_keeper(char *argv[]) {
        _cleanup_(instance_freep) Instance *instance = NULL;
        int r;

        r = make_instance(&instance);
        return r < 0 ? r : keeper_exec(instance, NULL, argv);
}

static int become_foreground(char *argv[]) {
        _cleanup_(instance_freep) Instance *instance = NULL;
        int r;

        r = make_instance(&instance);
        if (r < 0)
                return r;
        return foreground_exec(instance, &(Foreground) {
                        .argv0 = argv[0],
                        .runner = arg_runner,
                        .log_level = arg_log_level ?: getenv("PMD_LOG_LEVEL") ?: "warning",
                        .auto_exit = arg_auto_exit,
                        .words = arg_foreground,
                });
}

static int run(void) {
        _cleanup_(manager_freep) Manager *m = NULL;
        Instance *instance;
        int r;

        r = block_signals();
        if (r < 0)
                return log_error_errno(r, "Failed to block signals: %m");

        r = make_instance(&instance);
        if (r < 0)
                return r;

        r = manager_new(instance, &m);
        if (r < 0)
                return log_error_errno(r, "Failed to set up: %m");
        m->console = arg_console;
        m->log_level_given = arg_log_level || getenv("PMD_LOG_LEVEL");
        r = manager_startup(m, isempty(arg_runner) ? NULL : arg_runner);
        if (r < 0)
                return r;

        (void) sd_notifyf(false, "READY=1\nSTATUS=Serving %s", instance->home);
        log_info("pmd " PMD_VERSION " serves the %s instance at %s.", instance_scope_to_string(instance->scope), instance->home);

        manager_boot(m, arg_resurrect);

        r = sd_event_loop(m->event);
        if (r < 0)
                return log_error_errno(r, "Event loop failed: %m");
        return m->exit_status;
}

int main(int argc, char *argv[]) {
        int r;

        /* One arena is enough for two threads that hardly allocate, and a small heap is given back. */
        (void) mallopt(M_ARENA_MAX, 1);
        (void) mallopt(M_TRIM_THRESHOLD, 64 * 1024);

        (void) stdio_ensure();
        (void) umask(0022);
        log_setup();

        r = parse_argv(argc, argv);
        if (r < 0)
                return 2;
        if (r == 0)
                return EXIT_SUCCESS;

        r = arg_foreground ? become_foreground(argv) : arg_keeper ? become_keeper(argv) : run();
        return r == -EBUSY ? PMD_EXIT_ANOTHER_SERVES : r < 0 ? EXIT_FAILURE : r;
}
