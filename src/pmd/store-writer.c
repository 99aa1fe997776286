/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "pmd/store-writer.h"

#include "pmd/store.h"
#include "shared/fd-util.h"
#include "shared/list.h"

#define WAITING_MAX 64U

/* One list. While the thread has it nobody else looks at it. */
typedef struct Write {
        StoreWriter *writer;
        char *path, *text;
        size_t size;
        store_written_t done;
        void *userdata;
        int result;
        LIST_FIELDS(struct Write, writes);
} Write;

struct StoreWriter {
        LIST_HEAD(Write, writes); /* the first is being written */
        unsigned n_writes;
        bool writing;
        pthread_t thread;
        int written_fd;
        sd_event_source *source;
};

static Write *write_free(Write *w) {
        free(w->path);
        free(w->text);
        return mfree(w);
}

static void *write_on_thread(void *userdata) {
        Write *w = userdata;

        w->result = store_write(w->path, w->text, w->size);
        (void) eventfd_write(w->writer->written_fd, 1);
        return NULL;
}

static int start_thread(StoreWriter *s) {
        sigset_t all, before;
        int r;

        /* Signals are the main thread's. */
        sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        r = -pthread_create(&s->thread, NULL, write_on_thread, s->writes);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        s->writing = r >= 0;
        return r;
}

static void finish_first(StoreWriter *s, int result) {
        Write *w = s->writes;

        LIST_REMOVE(writes, s->writes, w);
        s->n_writes--;
        w->done(result, w->userdata);
        write_free(w);
}

static void go_on(StoreWriter *s) {
        int r;

        while (s->writes) {
                r = start_thread(s);
                if (r >= 0)
                        return;
                finish_first(s, r);
        }
}

static int on_written(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        StoreWriter *s = ASSERT_PTR(userdata);
        eventfd_t n;

        if (eventfd_read(fd, &n) < 0)
                return 0;
        (void) pthread_join(s->thread, NULL);
        s->writing = false;
        finish_first(s, s->writes->result);
        go_on(s);
        return 0;
}

int store_writer_new(sd_event *event, StoreWriter **ret) {
        _cleanup_(store_writer_freep) StoreWriter *s = NULL;
        int r;

        s = new0(StoreWriter, 1);
        if (!s)
                return -ENOMEM;
        s->written_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->written_fd < 0)
                return -errno;
        r = sd_event_add_io(event, &s->source, s->written_fd, EPOLLIN, on_written, s);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

StoreWriter *store_writer_free(StoreWriter *s) {
        if (!s)
                return NULL;

        if (s->writing) {
                (void) pthread_join(s->thread, NULL);
                finish_first(s, s->writes->result);
        }
        while (s->writes)
                finish_first(s, -ECANCELED);
        sd_event_source_disable_unref(s->source);
        safe_close(s->written_fd);
        return mfree(s);
}

int store_writer_save(StoreWriter *s, const char *path, json_object *apps, store_written_t done, void *userdata) {
        Write *w;
        int r;

        if (s->n_writes >= WAITING_MAX)
                return -EBUSY;
        w = new0(Write, 1);
        if (!w)
                return -ENOMEM;
        w->writer = s;
        w->done = done;
        w->userdata = userdata;
        w->path = strdup(path);
        r = w->path ? store_format(apps, &w->text, &w->size) : -ENOMEM;
        if (r < 0) {
                write_free(w);
                return r;
        }

        LIST_APPEND(writes, s->writes, w);
        s->n_writes++;
        if (s->writing)
                return 0;
        r = start_thread(s);
        if (r < 0) {
                LIST_REMOVE(writes, s->writes, w);
                s->n_writes--;
                write_free(w);
        }
        return r;
}
