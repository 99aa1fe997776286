/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <unistd.h>

#include "pmd/state-slots.h"

#include "pmd/state-file.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/parse-util.h"
#include "shared/path-util.h"
#include "shared/process-states.h"
#include "shared/string-util.h"

/* A smaller file is not cut for slots that are free at its end. */
#define SHRINK_SIZE_MIN (64 * (off_t) PROCESS_STATE_SIZE)

typedef struct Slot {
        bool taken;
        bool is_long; /* what is known is in a file of its own */
} Slot;

struct StateSlots {
        StateFile file;
        char *runtime_dir;
        Slot *slots;
        unsigned n; /* the last one is taken */
        size_t n_allocated;
        unsigned lowest; /* below it all are taken */
};

static off_t offset_of(unsigned slot) {
        return (off_t) (slot - 1) * PROCESS_STATE_SIZE;
}

static char *long_path(const StateSlots *s, unsigned slot) {
        return strprintf("%s/" PROCESS_STATES_LONG_DIRECTORY "/%u", s->runtime_dir, slot);
}

int state_slots_new(const char *runtime_dir, StateSlots **ret) {
        _cleanup_(state_slots_freep) StateSlots *s = new(StateSlots, 1);
        int r;

        if (!s)
                return -ENOMEM;
        *s = (StateSlots) { .lowest = 1, .file = STATE_FILE_NULL };
        s->runtime_dir = strdup(runtime_dir);
        r = state_file_init(&s->file, runtime_dir, PROCESS_STATES_FILE);
        if (r < 0 || !s->runtime_dir)
                return -ENOMEM;
        *ret = TAKE_PTR(s);
        return 0;
}

StateSlots *state_slots_free(StateSlots *s) {
        if (!s)
                return NULL;
        state_file_done(&s->file);
        free(s->runtime_dir);
        free(s->slots);
        return mfree(s);
}

int state_slots_check(StateSlots *s) {
        return state_file_check(&s->file);
}

void state_slots_check_path(StateSlots *s) {
        state_file_check_path(&s->file);
}

/* ---- slots ---- */

static int add_slots(StateSlots *s, unsigned n) {
        if (!GREEDY_REALLOC(s->slots, s->n_allocated, (size_t) n))
                return -ENOMEM;
        for (; s->n < n; s->n++)
                s->slots[s->n] = (Slot) {};
        return 0;
}

int state_slots_take(StateSlots *s, unsigned *ret) {
        unsigned slot = s->lowest;
        int r;

        while (slot <= s->n && s->slots[slot - 1].taken)
                slot++;
        r = slot > s->n ? add_slots(s, slot) : 0;
        if (r < 0)
                return r;
        s->slots[slot - 1].taken = true;
        s->lowest = slot + 1;
        *ret = slot;
        return 0;
}

/* The file is cut when nothing is in it, or much less than there was. */
static void shrink(StateSlots *s) {
        off_t size;

        while (s->n > 0 && !s->slots[s->n - 1].taken)
                s->n--;
        size = (off_t) s->n * PROCESS_STATE_SIZE;
        if (size < s->file.size && (size == 0 || (s->file.size >= SHRINK_SIZE_MIN && size <= s->file.size / 2)))
                (void) state_file_cut(&s->file, size);
}

static void remove_long(StateSlots *s, unsigned slot) {
        _cleanup_free_ char *path = long_path(s, slot);

        FAULT_BEFORE(STATE_REMOVE);
        if (path)
                (void) unlink(path);
        FAULT_AFTER(STATE_REMOVE);
        s->slots[slot - 1].is_long = false;
}

void state_slots_release(StateSlots *s, unsigned slot) {
        int r = 0;

        FAULT_BEFORE(STATE_REMOVE);
        if (s->file.fd >= 0 && offset_of(slot) < s->file.size)
                r = state_file_write(&s->file, offset_of(slot), "", 1);
        FAULT_AFTER(STATE_REMOVE);
        if (r < 0)
                log_warning_errno(r, "Failed to remove what is known of a process from %s, ignoring: %m", s->file.path);

        if (s->slots[slot - 1].is_long)
                remove_long(s, slot);
        s->slots[slot - 1].taken = false;
        s->lowest = MIN(s->lowest, slot);
        shrink(s);
}

/* ---- writing ---- */

/* One write() within a page is done wholly or not at all, whenever pmd is killed, and what is left of a longer text before stands behind the
 * NUL, where no reader looks. */
static int write_slot(StateSlots *s, unsigned slot, const char *text, size_t n) {
        int r;

        FAULT_BEFORE(STATE_WRITE);
        r = state_file_write(&s->file, offset_of(slot), text, n + 1);
        FAULT_AFTER(STATE_WRITE);
        return r;
}

/* Until the slot says so the file does not count, and its name is that of the slot, so that none is left over. */
static int write_long(StateSlots *s, unsigned slot, const char *text, size_t n) {
        _cleanup_free_ char *path = long_path(s, slot);
        int r;

        if (!path)
                return -ENOMEM;
        r = write_file_replace(path, text, n, 0600);
        if (r == -ENOENT) {
                r = mkdir_parents(path, 0700);
                if (r >= 0)
                        r = write_file_replace(path, text, n, 0600);
        }
        if (r < 0)
                return r;

        s->slots[slot - 1].is_long = true;
        return write_slot(s, slot, PROCESS_STATE_LONG, STRLEN(PROCESS_STATE_LONG));
}

int state_slots_write(StateSlots *s, unsigned slot, const char *text, size_t n) {
        int r;

        if (n >= PROCESS_STATE_SIZE)
                return write_long(s, slot, text, n);
        r = write_slot(s, slot, text, n);
        if (r >= 0 && s->slots[slot - 1].is_long)
                remove_long(s, slot);
        return r;
}

/* ---- at start-up ---- */

int state_slots_load(StateSlots *s, unsigned *ret_n) {
        unsigned n;
        int r;

        *ret_n = 0;
        r = state_file_open(&s->file);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        n = process_states_count(s->file.size);
        r = add_slots(s, n);
        if (r >= 0)
                *ret_n = n;
        return r;
}

int state_slots_read(StateSlots *s, unsigned slot, json_object **ret) {
        Slot *t = s->slots + slot - 1;
        int r;

        r = process_state_read(s->file.fd, s->runtime_dir, slot, ret, &t->is_long);
        t->taken = r != -ENODATA;
        return r;
}

void state_slots_clean(StateSlots *s) {
        _cleanup_free_ char *path = strjoin(s->runtime_dir, "/" PROCESS_STATES_LONG_DIRECTORY);
        _cleanup_closedir_ DIR *d = path ? opendir(path) : NULL;
        unsigned slot;

        for (struct dirent *de; d && (de = readdir(d));)
                if (de->d_name[0] != '.' &&
                    (safe_atou(de->d_name, &slot) < 0 || slot == 0 || slot > s->n || !s->slots[slot - 1].is_long))
                        (void) unlinkat(dirfd(d), de->d_name, 0);
        shrink(s);
}
