/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "pmctl/why.h"
#include "shared/fd-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* So much of the end of a file is looked at, and so much of a line is shown. */
#define TAIL_SIZE 16384
#define LINE_SHOWN_MAX 400U

/* So many are looked at for each that is shown. */
#define LINES_PER_LINE 6U

static int add_line(char ***lines, const char *data, size_t n) {
        return strv_consume(lines, strndup(data, MIN(n, (size_t) LINE_SHOWN_MAX)));
}

/* As JavaScript and Java have them; in other languages the trace comes first, or is short. */
static bool is_frame(const char *line) {
        size_t n = strspn(line, " \t");

        return n > 0 && startswith(line + n, "at ");
}

/* Of each trace the first frame stays. */
static int shorten_traces(char **lines, char ***ret) {
        _cleanup_strv_free_ char **kept = NULL;
        int r;

        for (char **l = lines; l && *l; l++) {
                bool follows = l > lines && is_frame(l[-1]) && is_frame(*l), first = is_frame(*l) && !follows && l[1] && is_frame(l[1]);

                if (follows)
                        continue;
                r = strv_consume(&kept, first ? strjoin(*l, " ...") : strdup(*l));
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(kept);
        return 0;
}

int why_choose_lines(char ***lines, unsigned max, char ***ret) {
        _cleanup_strv_free_ char **all = TAKE_PTR(*lines), **kept = NULL, **chosen = NULL;
        size_t n;
        int r;

        r = shorten_traces(all, &kept);
        if (r < 0)
                return r;
        n = strv_length(kept);
        for (size_t i = n > max ? n - max : 0; i < n; i++) {
                r = strv_consume(&chosen, string_escape_cc(kept[i]));
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(chosen);
        return 0;
}

static int add_tail(char ***lines, const char *text, unsigned max) {
        const char *begin = text + strlen(text);
        unsigned n = 0;

        while (begin > text && (begin[-1] != '\n' || ++n < max))
                begin--;

        while (*begin) {
                size_t length = strcspn(begin, "\n");
                int r;

                r = length > 0 ? add_line(lines, begin, length) : 0;
                if (r < 0)
                        return r;
                begin += length + (begin[length] == '\n');
        }
        return 0;
}

static int read_file(const char *path, uint64_t since, unsigned max, char ***ret) {
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_close_ int fd = -EBADF;
        char text[TAIL_SIZE + 1];
        struct stat st;
        off_t begin;
        ssize_t n;
        int r;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return 0;
        begin = MAX(st.st_size - TAIL_SIZE, (off_t) 0);
        if (since <= (uint64_t) st.st_size) /* else the file is another one by now */
                begin = MAX(begin, (off_t) since);
        n = pread(fd, text, TAIL_SIZE, begin);
        if (n <= 0)
                return 0;
        /* The newline at the end ends a line, it does not begin one. */
        text[n - (text[n - 1] == '\n')] = 0;

        r = add_tail(&lines, text, max * LINES_PER_LINE);
        return r < 0 ? r : why_choose_lines(&lines, max, ret);
}

static int match(sd_journal *j, const char *field, const char *value) {
        _cleanup_free_ char *s = strjoin(field, "=", value);

        return s ? sd_journal_add_match(j, s, 0) : -ENOMEM;
}

static int open_journal(const WhyFacts *f, InstanceScope scope, const char *stream, sd_journal **ret) {
        _cleanup_free_ char *id = strprintf("%" PRIu32, f->id), *uid = strprintf("%u", scope == INSTANCE_SYSTEM ? 0 : geteuid());
        sd_journal *j;
        int r = 0;

        if (!id || !uid)
                return -ENOMEM;
        r = sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY);
        if (r < 0)
                return r;
        RET_GATHER(r, match(j, "_UID", uid));
        RET_GATHER(r, match(j, "PM_APP", f->name));
        RET_GATHER(r, match(j, "PM_ID", id));
        RET_GATHER(r, match(j, "PM_STREAM", stream));
        RET_GATHER(r, sd_journal_seek_tail(j));
        if (r < 0) {
                sd_journal_close(j);
                return r;
        }
        *ret = j;
        return 0;
}

static int read_journal(const WhyFacts *f, InstanceScope scope, const char *stream, usec_t since, unsigned max, char ***ret) {
        _cleanup_strv_free_ char **lines = NULL;
        sd_journal *j;
        int r;

        r = open_journal(f, scope, stream, &j);
        if (r < 0)
                return r == -ENOMEM ? r : 0;

        r = sd_journal_previous_skip(j, max * LINES_PER_LINE) > 0 ? 1 : 0;
        while (r > 0) {
                uint64_t realtime = 0;
                const void *data;
                size_t n;

                if (sd_journal_get_realtime_usec(j, &realtime) >= 0 && realtime >= since && sd_journal_get_data(j, "MESSAGE", &data, &n) >= 0 && n > STRLEN("MESSAGE="))
                        r = add_line(&lines, (const char *) data + STRLEN("MESSAGE="), n - STRLEN("MESSAGE="));
                if (r >= 0)
                        r = sd_journal_next(j);
        }
        sd_journal_close(j);
        return r == -ENOMEM ? r : why_choose_lines(&lines, max, ret);
}

/* "/dev/stdout" is another one for us than for pmd. */
static bool is_file(const char *path) {
        return !isempty(path) && !startswith(path, "/dev/");
}

int why_read_lines(WhyFacts *f, InstanceScope scope, const char *out_path, const char *error_path, const LinesSince *since) {
        const LinesSince any = {}, *s = since ?: &any;
        const uint64_t sizes[] = { s->error, s->out };
        unsigned max = since ? WHY_NEW_LINES_MAX : WHY_LINES_MAX;
        const char *const paths[] = { error_path, out_path }, *const streams[] = { "err", "out" };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(paths) && strv_isempty(f->lines); i++) {
                if (is_file(paths[i]))
                        r = read_file(paths[i], sizes[i], max, &f->lines);
                else
                        r = scope == INSTANCE_PRIVATE ? 0 : read_journal(f, scope, streams[i], s->realtime, max, &f->lines);
                if (r < 0)
                        return r;
                f->lines_are_errors = i == 0;
        }
        return 0;
}
