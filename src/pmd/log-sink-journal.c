/* SPDX-License-Identifier: MIT */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <inttypes.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "pmd/log-sink-journal.h"
#include "shared/log.h"
#include "shared/string-util.h"

#define MESSAGE_PREFIX "MESSAGE="

static log_journal_send_t journal_send = sd_journal_sendv;

void log_journal_set_sender(log_journal_send_t send) {
        journal_send = send ?: sd_journal_sendv;
}

struct LogJournal {
        char *message; /* MESSAGE_PREFIX and room for the longest line */
        size_t allocated;
        int error;     /* of the last entry, 0: it was sent */
        uint64_t n_lost;
};

int log_journal_new(LogJournal **ret) {
        _cleanup_(log_journal_freep) LogJournal *j = new0(LogJournal, 1);

        if (!j)
                return -ENOMEM;

        j->allocated = STRLEN(MESSAGE_PREFIX) + LOG_LINE_MAX;
        j->message = new(char, j->allocated);
        if (!j->message)
                return -ENOMEM;
        memcpy(j->message, MESSAGE_PREFIX, STRLEN(MESSAGE_PREFIX));

        *ret = TAKE_PTR(j);
        return 0;
}

LogJournal *log_journal_free(LogJournal *j) {
        if (!j)
                return NULL;

        free(j->message);
        return mfree(j);
}

enum {
        FIELD_MESSAGE,
        FIELD_PRIORITY,
        FIELD_IDENTIFIER,
        FIELD_APP,
        FIELD_ID,
        FIELD_INSTANCE,
        FIELD_NAMESPACE,
        FIELD_STREAM,
        _FIELD_FIXED_MAX,
        _FIELD_MAX = _FIELD_FIXED_MAX + 3, /* OBJECT_PID, PM_UNIT, PM_LINE_BREAK: not with every line */
};

struct LogSinkJournal {
        struct iovec fields[_FIELD_MAX];
        size_t n_fields;       /* without PM_LINE_BREAK */
        char *object_pid, *unit;
        int default_priority, priority; /* the latter of the line being written, for its further pieces */
};

static struct iovec iovec_of(const char *s) {
        return (struct iovec) { .iov_base = (char *) s, .iov_len = strlen(s) };
}

static int set_field(LogSinkJournal *s, size_t i, char *field) {
        if (!field)
                return -ENOMEM;

        s->fields[i] = iovec_of(field);
        return 0;
}

int log_sink_journal_new(const LogStreamSpec *spec, LogSinkJournal **ret) {
        _cleanup_(log_sink_journal_freep) LogSinkJournal *s = new0(LogSinkJournal, 1);
        int r = 0;

        if (!s)
                return -ENOMEM;

        s->default_priority = s->priority = spec->kind == LOG_STREAM_ERR ? LOG_ERR : LOG_INFO;
        s->n_fields = _FIELD_FIXED_MAX;
        RET_GATHER(r, set_field(s, FIELD_IDENTIFIER, strjoin("SYSLOG_IDENTIFIER=", spec->app)));
        RET_GATHER(r, set_field(s, FIELD_APP, strjoin("PM_APP=", spec->app)));
        RET_GATHER(r, set_field(s, FIELD_ID, strprintf("PM_ID=%u", spec->id)));
        RET_GATHER(r, set_field(s, FIELD_INSTANCE, strprintf("PM_INSTANCE=%u", spec->instance)));
        RET_GATHER(r, set_field(s, FIELD_NAMESPACE, strjoin("PM_NAMESPACE=", strempty(spec->name_space))));
        RET_GATHER(r, set_field(s, FIELD_STREAM, strjoin("PM_STREAM=", log_stream_kind_to_string(spec->kind))));
        RET_GATHER(r, log_sink_journal_set_pid(s, spec->pid, spec->unit));
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

LogSinkJournal *log_sink_journal_free(LogSinkJournal *s) {
        if (!s)
                return NULL;

        for (size_t i = FIELD_IDENTIFIER; i < _FIELD_FIXED_MAX; i++)
                free(s->fields[i].iov_base);
        free(s->object_pid);
        free(s->unit);
        return mfree(s);
}

int log_sink_journal_set_pid(LogSinkJournal *s, pid_t pid, const char *unit) {
        _cleanup_free_ char *object_pid = NULL, *unit_field = NULL;

        if (pid > 0 && geteuid() == 0) {
                object_pid = strprintf("OBJECT_PID=%ld", (long) pid);
                if (!object_pid)
                        return -ENOMEM;
        }
        if (unit) {
                unit_field = strjoin("PM_UNIT=", unit);
                if (!unit_field)
                        return -ENOMEM;
        }

        free(s->object_pid);
        free(s->unit);
        s->object_pid = TAKE_PTR(object_pid);
        s->unit = TAKE_PTR(unit_field);

        s->n_fields = _FIELD_FIXED_MAX;
        if (s->object_pid)
                s->fields[s->n_fields++] = iovec_of(s->object_pid);
        if (s->unit)
                s->fields[s->n_fields++] = iovec_of(s->unit);
        return 0;
}

static void note_result(LogJournal *j, int error) {
        if (error < 0) {
                j->n_lost++;
                if (j->error != error)
                        log_warning_errno(error, "Failed to send lines to the journal, dropping them: %m");
        } else if (j->error < 0) {
                log_notice("The journal takes lines again, %" PRIu64 " were lost.", j->n_lost);
                j->n_lost = 0;
        }

        j->error = MIN(error, 0);
}

static int send_line(LogSinkJournal *s, LogJournal *j, const LogLine *line) {
        static const char *const priorities[] = {
                "PRIORITY=0", "PRIORITY=1", "PRIORITY=2", "PRIORITY=3",
                "PRIORITY=4", "PRIORITY=5", "PRIORITY=6", "PRIORITY=7",
        };
        size_t n = s->n_fields;

        if (!GREEDY_REALLOC(j->message, j->allocated, STRLEN(MESSAGE_PREFIX) + line->size))
                return -ENOMEM;
        memcpy(j->message + STRLEN(MESSAGE_PREFIX), line->data, line->size);

        s->fields[FIELD_MESSAGE] = (struct iovec) { j->message, STRLEN(MESSAGE_PREFIX) + line->size };
        s->fields[FIELD_PRIORITY] = iovec_of(priorities[s->priority]);
        if (line->end == LOG_LINE_END_SPLIT)
                s->fields[n++] = iovec_of("PM_LINE_BREAK=line-max");
        else if (line->end == LOG_LINE_END_EOF)
                s->fields[n++] = iovec_of("PM_LINE_BREAK=eof");

        return journal_send(s->fields, (int) n);
}

void log_sink_journal_write(LogSinkJournal *s, LogJournal *j, const LogBlock *block) {
        size_t offset = 0;

        for (LogLine line; log_block_next(block, &offset, &line);) {
                int priority = log_line_take_priority(&line);

                if (priority >= 0)
                        s->priority = priority;
                else if (!line.continued)
                        s->priority = s->default_priority;

                note_result(j, send_line(s, j, &line));
        }
}
