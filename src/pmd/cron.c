/* SPDX-License-Identifier: MIT */
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "pmd/cron.h"

#include "shared/cron-expr.h"
#include "shared/fd-util.h"
#include "shared/list.h"
#include "shared/log.h"
#include "shared/string-util.h"

/* A leap of the clock that is no larger neither swallows a run nor repeats one: so far, and farther, go the steps of a time daemon. */
#define LEAP_MAX (60 * USEC_PER_SEC)

struct CronJob {
        CronClock *clock;
        char *expression;
        CronExpr *parsed;
        usec_t next;
        usec_t last; /* that was due; 0: none yet */
        cron_due_t due;
        void *userdata;
        LIST_FIELDS(CronJob, jobs);
};

struct CronClock {
        sd_event *event;
        cron_now_t get_now;
        int fd;
        sd_event_source *timer_source, *zone_source;
        LIST_HEAD(CronJob, jobs);
};

static usec_t system_now(void) {
        return now(CLOCK_REALTIME);
}

/* ---- the timer ---- */

static void arm(CronClock *c) {
        struct itimerspec at = {};
        usec_t first = USEC_INFINITY;

        if (c->fd < 0)
                return;
        LIST_FOREACH(jobs, j, c->jobs)
                first = MIN(first, j->next);
        if (first != USEC_INFINITY)
                at.it_value = (struct timespec) {
                        .tv_sec = (time_t) (first / USEC_PER_SEC),
                        .tv_nsec = (long) (first % USEC_PER_SEC * NSEC_PER_USEC),
                };
        if (timerfd_settime(c->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL) < 0 && errno != ECANCELED)
                log_error_errno(errno, "Failed to arm the timer for cron, ignoring: %m");
}

static void schedule(CronJob *j, usec_t after) {
        int r;

        r = cron_next(j->parsed, after, NULL, &j->next);
        if (r < 0) {
                log_warning_errno(r, "There is no next time for '%s': %m", j->expression);
                j->next = USEC_INFINITY;
        }
}

static CronJob *first_due(const CronClock *c, usec_t t) {
        LIST_FOREACH(jobs, j, c->jobs)
                if (j->next <= t)
                        return j;
        return NULL;
}

void cron_clock_run(CronClock *c) {
        usec_t t = c->get_now();

        for (CronJob *j; (j = first_due(c, t));) {
                j->last = j->next;
                schedule(j, t);
                j->due(j->userdata);
        }
        arm(c);
}

static void reschedule(CronJob *j, usec_t t) {
        bool leapt_over = j->next <= t && t - j->next <= LEAP_MAX;
        bool leapt_back = j->last > t && j->last - t <= LEAP_MAX;

        if (!leapt_over)
                schedule(j, leapt_back ? j->last : t);
}

void cron_clock_changed(CronClock *c) {
        usec_t t = c->get_now();

        LIST_FOREACH(jobs, j, c->jobs)
                reschedule(j, t);
        cron_clock_run(c);
}

static int on_timer(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        CronClock *c = ASSERT_PTR(userdata);
        uint64_t expirations;

        if (read(fd, &expirations, sizeof expirations) >= 0)
                cron_clock_run(c);
        else if (errno == ECANCELED)
                cron_clock_changed(c);
        else if (!IN_SET(errno, EAGAIN, EINTR))
                log_warning_errno(errno, "Failed to read the timer for cron, ignoring: %m");
        return 0;
}

static int on_etc(sd_event_source *s, const struct inotify_event *e, void *userdata) {
        CronClock *c = ASSERT_PTR(userdata);

        if ((e->mask & IN_Q_OVERFLOW) || (e->len > 0 && streq(e->name, "localtime")))
                cron_clock_changed(c);
        return 0;
}

/* With the first job: a pmd without cron has neither a timer nor a watch. */
static int clock_start(CronClock *c) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (c->fd >= 0)
                return 0;

        fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = sd_event_add_io(c->event, &c->timer_source, fd, EPOLLIN, on_timer, c);
        if (r < 0)
                return r;
        r = sd_event_add_inotify(c->event, &c->zone_source, "/etc", IN_MOVED_TO | IN_CREATE | IN_CLOSE_WRITE, on_etc, c);
        if (r < 0)
                log_warning_errno(r, "Failed to watch for changes of the time zone, ignoring: %m");

        c->fd = TAKE_FD(fd);
        return 0;
}

static void clock_stop(CronClock *c) {
        c->timer_source = sd_event_source_disable_unref(c->timer_source);
        c->zone_source = sd_event_source_disable_unref(c->zone_source);
        c->fd = safe_close(c->fd);
}

/* ---- construction ---- */

int cron_clock_new(sd_event *event, cron_now_t get_now, CronClock **ret) {
        CronClock *c = new0(CronClock, 1);

        if (!c)
                return -ENOMEM;
        c->event = sd_event_ref(event);
        c->get_now = get_now ?: system_now;
        c->fd = -EBADF;
        *ret = c;
        return 0;
}

CronClock *cron_clock_free(CronClock *c) {
        if (!c)
                return NULL;

        assert(!c->jobs);
        clock_stop(c);
        sd_event_unref(c->event);
        return mfree(c);
}

static CronJob *job_destroy(CronJob *j) {
        if (!j)
                return NULL;
        cron_free(j->parsed);
        free(j->expression);
        return mfree(j);
}
DEFINE_CLEANUP_FUNC(CronJob *, job_destroy);

int cron_job_new(CronClock *c, const char *expression, cron_due_t due, void *userdata, CronJob **ret, char **reterr) {
        _cleanup_(job_destroyp) CronJob *j = new0(CronJob, 1);
        int r;

        if (!j)
                return -ENOMEM;
        j->clock = c;
        j->due = due;
        j->userdata = userdata;
        j->expression = strdup(expression);
        if (!j->expression)
                return -ENOMEM;
        r = cron_parse(expression, &j->parsed, reterr);
        if (r < 0)
                return r;
        r = clock_start(c);
        if (r < 0)
                return r;

        schedule(j, c->get_now());
        LIST_PREPEND(jobs, c->jobs, j);
        arm(c);
        *ret = TAKE_PTR(j);
        return 0;
}

CronJob *cron_job_free(CronJob *j) {
        CronClock *c;

        if (!j)
                return NULL;

        c = j->clock;
        LIST_REMOVE(jobs, c->jobs, j);
        if (c->jobs)
                arm(c);
        else
                clock_stop(c);
        return job_destroy(j);
}

const char *cron_job_expression(const CronJob *j) {
        return j->expression;
}

usec_t cron_job_next(const CronJob *j) {
        return j->next;
}
