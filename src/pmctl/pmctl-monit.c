/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "pmctl/pmctl-util.h"
#include "shared/fd-util.h"

#define PERIOD_MSEC 1000

/* The second screen of the terminal, without a cursor, and back. */
#define ENTER_SCREEN "\033[?1049h\033[?25l"
#define LEAVE_SCREEN "\033[?25h\033[?1049l"
#define BEGIN_FRAME "\033[H\033[2J"

typedef struct Screen {
        struct termios before;
        bool entered;
        int signal_fd;
} Screen;

static void screen_leave(Screen *s) {
        if (s->entered) {
                printf(LEAVE_SCREEN);
                (void) fflush(stdout);
                (void) tcsetattr(STDIN_FILENO, TCSAFLUSH, &s->before);
        }
        safe_close(s->signal_fd);
}

/* The terminal must be as it was, whatever ends us. */
static int screen_enter(Screen *s) {
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH };
        struct termios raw;
        sigset_t set;

        (void) sigemptyset(&set);
        for (size_t i = 0; i < ELEMENTSOF(signals); i++)
                (void) sigaddset(&set, signals[i]);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (s->signal_fd < 0 || tcgetattr(STDIN_FILENO, &s->before) < 0)
                return -errno;

        raw = s->before;
        raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) < 0)
                return -errno;
        s->entered = true;
        printf(ENTER_SCREEN);
        return 0;
}

static int draw(const Options *o, pmd_connection *c) {
        int r;

        printf(BEGIN_FRAME);
        r = print_process_table(o, c);
        if (r != EXIT_CODE_OK)
                return r;
        printf("\n q ends, l shows logs\n");
        return fflush(stdout) == 0 ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

static bool got_signal(int fd) {
        struct signalfd_siginfo si;

        while (read(fd, &si, sizeof si) == sizeof si)
                if (si.ssi_signo != SIGWINCH)
                        return true;
        return false;
}

/* 'q' for each way to end it. */
static char read_key(const Screen *s, const struct pollfd *p) {
        char key = 0;

        if (p[1].revents && got_signal(s->signal_fd))
                return 'q';
        if (p[0].revents && read(STDIN_FILENO, &key, 1) <= 0)
                return 'q';
        return IN_SET(key, 'Q', 27) ? 'q' : key;
}

static int watch(const Options *o, pmd_connection *c, const Screen *s, char *ret_key) {
        struct pollfd p[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = s->signal_fd, .events = POLLIN } };
        char key;
        int r;

        do {
                r = draw(o, c);
                if (r != EXIT_CODE_OK)
                        return r;
                if (poll(p, ELEMENTSOF(p), PERIOD_MSEC) < 0 && errno != EINTR)
                        return EXIT_CODE_FAILED;
                key = read_key(s, p);
        } while (!IN_SET(key, 'q', 'l'));

        *ret_key = key;
        return EXIT_CODE_OK;
}

static int show_screen(const Options *o, pmd_connection *c, char *ret_key) {
        _cleanup_(screen_leave) Screen s = { .signal_fd = -EBADF };
        int r;

        r = screen_enter(&s);
        return r < 0 ? report_error(o, r, NULL) : watch(o, c, &s, ret_key);
}

int verb_monit(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        sigset_t none;
        char key = 0;
        int r;

        if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
                message_error(o, "monit needs a terminal; pmctl list --json is for programs.");
                return EXIT_CODE_USAGE;
        }
        r = acquire_connection(o, 0, &c);
        if (r == EXIT_CODE_OK)
                r = show_screen(o, c, &key);

        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        return r == EXIT_CODE_OK && key == 'l' ? verb_logs(1, argv, o) : r;
}
