/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <sys/resource.h>

#include "pmd/definition-file.h"
#include "pmd/state-slots.h"
#include "shared/process-states.h"
#include "test.h"
#include "tree.h"

DEFINE_CLEANUP_FUNC(json_object *, json_object_put)

static off_t size_of(const char *dir, const char *name) {
        _cleanup_free_ char *path = strjoin(dir, "/", name);
        struct stat st;

        return lstat(path, &st) < 0 ? -errno : st.st_size;
}

static void remove_file(const char *dir, const char *name) {
        _cleanup_free_ char *path = strjoin(dir, "/", name);

        (void) unlink(path);
}

/* Files may grow to this size: what goes beyond fails, as on a full disk. */
static void limit_files(rlim_t size) {
        (void) signal(SIGXFSZ, SIG_IGN);
        (void) setrlimit(RLIMIT_FSIZE, &(struct rlimit) { size, RLIM_INFINITY });
}

/* ---- slots ---- */

static StateSlots *open_slots(const char *dir, unsigned *ret_n) {
        StateSlots *s;

        return state_slots_new(dir, &s) < 0 || state_slots_load(s, ret_n) < 0 ? NULL : s;
}

static unsigned put(StateSlots *s, const char *text) {
        unsigned slot;

        return state_slots_check(s) < 0 || state_slots_take(s, &slot) < 0 || state_slots_write(s, slot, text, strlen(text)) < 0 ? 0 : slot;
}

/* The string "a" of the object there, or the name of an error; new memory. */
static char *get(StateSlots *s, unsigned slot) {
        _cleanup_(json_object_putp) json_object *o = NULL;
        int r = state_slots_read(s, slot, &o);

        return r < 0 ? strdup(strerrorname_np(-r)) : strdup(json_object_get_string(json_object_object_get(o, "a")));
}

#define ASSERT_SLOT(s, slot, text)                                                      \
        do {                                                                            \
                _cleanup_free_ char *_got = get(s, slot);                               \
                ASSERT_STREQ(_got, text);                                               \
        } while (false)

static char *object_of(size_t n) {
        char *text = malloc(n + 1);

        memset(text, 'x', n);
        memcpy(text, "{\"a\":\"", 6);
        strcpy(text + n - 2, "\"}");
        return text;
}

TEST(slots_are_kept) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(state_slots_freep) StateSlots *s = NULL, *again = NULL;
        unsigned n;

        s = open_slots(dir, &n);
        ASSERT_TRUE(s);
        ASSERT_EQ(n, 0);
        ASSERT_EQ(put(s, "{\"a\":\"one\"}"), 1);
        ASSERT_EQ(put(s, "{\"a\":\"a longer two\"}"), 2);
        ASSERT_EQ(put(s, "{\"a\":\"three\"}"), 3);
        ASSERT_OK(state_slots_write(s, 2, "{\"a\":\"2\"}", 9));

        again = open_slots(dir, &n);
        ASSERT_EQ(n, 3);
        ASSERT_SLOT(again, 1, "one");
        ASSERT_SLOT(again, 2, "2");
        ASSERT_SLOT(again, 3, "three");
}

TEST(the_lowest_free_slot_is_taken) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(state_slots_freep) StateSlots *s = NULL, *again = NULL;
        unsigned n;

        s = open_slots(dir, &n);
        for (unsigned i = 1; i <= 200; i++)
                ASSERT_EQ(put(s, "{\"a\":\"x\"}"), i);
        state_slots_release(s, 7);
        state_slots_release(s, 3);

        again = open_slots(dir, &n);
        ASSERT_EQ(n, 200);
        for (unsigned i = 1; i <= n; i++)
                ASSERT_SLOT(again, i, i == 3 || i == 7 ? "ENODATA" : "x");
        ASSERT_EQ(put(again, "{\"a\":\"y\"}"), 3);
        ASSERT_EQ(put(again, "{\"a\":\"y\"}"), 7);
        ASSERT_EQ(put(again, "{\"a\":\"y\"}"), 201);

        for (unsigned i = 201; i > 90; i--)
                state_slots_release(again, i);
        ASSERT_EQ(size_of(dir, PROCESS_STATES_FILE), 100 * PROCESS_STATE_SIZE);
        ASSERT_EQ(put(again, "{\"a\":\"z\"}"), 91);
        for (unsigned i = 1; i <= 91; i++)
                state_slots_release(again, i);
        ASSERT_EQ(size_of(dir, PROCESS_STATES_FILE), 0);
        ASSERT_EQ(put(again, "{\"a\":\"z\"}"), 1);
        ASSERT_SLOT(again, 1, "z");
}

TEST(what_is_too_long_has_a_file) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(state_slots_freep) StateSlots *s = NULL, *again = NULL;
        _cleanup_free_ char *fits = object_of(PROCESS_STATE_SIZE - 1), *is_long = object_of(PROCESS_STATE_SIZE), *longer = object_of(20000), *stray = NULL;
        unsigned n;

        s = open_slots(dir, &n);
        ASSERT_EQ(put(s, fits), 1);
        ASSERT_EQ(size_of(dir, PROCESS_STATES_LONG_DIRECTORY "/1"), -ENOENT);
        ASSERT_EQ(put(s, is_long), 2);
        ASSERT_EQ(put(s, longer), 3);
        ASSERT_EQ(size_of(dir, PROCESS_STATES_LONG_DIRECTORY "/2"), PROCESS_STATE_SIZE);
        ASSERT_OK(state_slots_write(s, 2, longer, strlen(longer)));

        stray = tree_write(dir, PROCESS_STATES_LONG_DIRECTORY "/1", "{}", 2, 0600);
        again = open_slots(dir, &n);
        for (unsigned i = 1; i <= 3; i++) {
                _cleanup_(json_object_putp) json_object *o = NULL;

                ASSERT_OK(state_slots_read(again, i, &o));
                ASSERT_EQ(json_object_get_string_len(json_object_object_get(o, "a")), (i == 1 ? PROCESS_STATE_SIZE - 1 : 20000) - 8);
        }
        state_slots_clean(again);
        ASSERT_EQ(size_of(dir, PROCESS_STATES_LONG_DIRECTORY "/1"), -ENOENT);
        ASSERT_EQ(size_of(dir, PROCESS_STATES_LONG_DIRECTORY "/3"), 20000);

        ASSERT_OK(state_slots_write(again, 3, "{\"a\":\"s\"}", 9));
        ASSERT_EQ(size_of(dir, PROCESS_STATES_LONG_DIRECTORY "/3"), -ENOENT);
        ASSERT_SLOT(again, 3, "s");
        state_slots_release(again, 2);
        ASSERT_EQ(size_of(dir, PROCESS_STATES_LONG_DIRECTORY "/2"), -ENOENT);
}

TEST(what_is_no_state_is_told) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(state_slots_freep) StateSlots *s = NULL;
        _cleanup_free_ char *file = calloc(5, PROCESS_STATE_SIZE), *path = NULL;
        json_object *o = NULL;
        unsigned n;

        strcpy(file, "{\"a\":");
        strcpy(file + PROCESS_STATE_SIZE, "[1]");
        memset(file + 2 * PROCESS_STATE_SIZE, ' ', PROCESS_STATE_SIZE);
        strcpy(file + 3 * PROCESS_STATE_SIZE, PROCESS_STATE_LONG);
        strcpy(file + 4 * PROCESS_STATE_SIZE, "{\"a\":\"b\"}");
        path = tree_write(dir, PROCESS_STATES_FILE, file, 4 * PROCESS_STATE_SIZE + 9, 0600); /* without the last NUL */
        s = open_slots(dir, &n);
        ASSERT_EQ(n, 5);
        ASSERT_EQ(state_slots_read(s, 1, &o), -EBADMSG);
        ASSERT_EQ(state_slots_read(s, 2, &o), -EBADMSG);
        ASSERT_EQ(state_slots_read(s, 3, &o), -EBADMSG);
        ASSERT_EQ(state_slots_read(s, 4, &o), -ENOENT);
        ASSERT_EQ(state_slots_read(s, 5, &o), -EBADMSG);
        for (unsigned i = 1; i <= n; i++)
                state_slots_release(s, i);
        ASSERT_EQ(size_of(dir, PROCESS_STATES_FILE), 0);
}

TEST(slots_are_made_anew) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *path = strjoin(dir, "/" PROCESS_STATES_FILE), *moved = strjoin(dir, "/moved");
        _cleanup_(state_slots_freep) StateSlots *s = NULL, *again = NULL;
        unsigned n;

        s = open_slots(dir, &n);
        ASSERT_EQ(put(s, "{\"a\":\"1\"}"), 1);
        ASSERT_EQ(put(s, "{\"a\":\"2\"}"), 2);
        ASSERT_EQ(state_slots_check(s), 1);
        remove_file(dir, PROCESS_STATES_FILE);
        ASSERT_EQ(state_slots_check(s), 0);
        ASSERT_EQ(state_slots_check(s), 1);
        ASSERT_EQ(put(s, "{\"a\":\"3\"}"), 3);
        ASSERT_OK(state_slots_write(s, 1, "{\"a\":\"1\"}", 9));

        ASSERT_EQ(truncate(path, PROCESS_STATE_SIZE), 0);
        ASSERT_EQ(state_slots_check(s), 0);
        ASSERT_OK(state_slots_write(s, 2, "{\"a\":\"2\"}", 9));

        ASSERT_EQ(rename(path, moved), 0);
        ASSERT_EQ(state_slots_check(s), 1);
        state_slots_check_path(s);
        ASSERT_EQ(state_slots_check(s), 0);
        ASSERT_OK(state_slots_write(s, 3, "{\"a\":\"3\"}", 9));

        again = open_slots(dir, &n);
        ASSERT_EQ(n, 3);
        ASSERT_SLOT(again, 1, "ENODATA");
        ASSERT_SLOT(again, 2, "ENODATA");
        ASSERT_SLOT(again, 3, "3");
}

TEST(a_full_disk_keeps_slots) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(state_slots_freep) StateSlots *s = NULL;
        unsigned n;

        s = open_slots(dir, &n);
        ASSERT_EQ(put(s, "{\"a\":\"1\"}"), 1);
        limit_files(PROCESS_STATE_SIZE + 4);
        ASSERT_EQ(put(s, "{\"a\":\"2\"}"), 0);
        ASSERT_OK(state_slots_write(s, 1, "{\"a\":\"one\"}", 11));
        limit_files(RLIM_INFINITY);
        ASSERT_OK(state_slots_write(s, 2, "{\"a\":\"2\"}", 9));
        ASSERT_SLOT(s, 1, "one");
        ASSERT_SLOT(s, 2, "2");
}

TEST(pmctl_reads_current_ones) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(state_slots_freep) StateSlots *s = NULL;
        json_object **states;
        unsigned n;
        size_t k;

        ASSERT_EQ(process_states_load(dir, &states, &k), -ENOENT);
        s = open_slots(dir, &n);
        ASSERT_EQ(put(s, "{\"id\":5,\"role\":\"current\"}"), 1);
        ASSERT_EQ(put(s, "{\"id\":7,\"role\":\"retired\"}"), 2);
        ASSERT_EQ(put(s, "not json"), 3);
        ASSERT_EQ(put(s, "{\"id\":2}"), 4);
        ASSERT_OK(process_states_load(dir, &states, &k));
        ASSERT_EQ(k, 2);
        ASSERT_EQ(json_object_get_int(json_object_object_get(states[0], "id")), 2);
        ASSERT_EQ(json_object_get_int(json_object_object_get(states[1], "id")), 5);
        process_states_free(states, k);
}

/* ---- definitions ---- */

static DefinitionFile *open_definitions(const char *dir) {
        DefinitionFile *f;

        return definition_file_new(dir, &f) < 0 || definition_file_load(f) < 0 ? NULL : f;
}

static unsigned add(DefinitionFile *f, const char *json) {
        unsigned serial;

        return definition_file_check(f) < 0 || definition_file_add(f, json, &serial) < 0 ? 0 : serial;
}

#define ASSERT_DEFINITION(f, serial, text)                                              \
        do {                                                                            \
                _cleanup_free_ char *_got = NULL;                                       \
                int _k = definition_file_read(f, serial, &_got);                        \
                ASSERT_STREQ(_k < 0 ? strerrorname_np(-_k) : _got + 1, text);           \
        } while (false)

TEST(definitions_are_kept) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(definition_file_freep) DefinitionFile *f = NULL, *again = NULL, *third = NULL;

        f = open_definitions(dir);
        for (unsigned i = 1; i <= 5; i++) {
                _cleanup_free_ char *json = strprintf("{\"n\":%u}", i);

                ASSERT_EQ(add(f, json), i);
        }
        ASSERT_DEFINITION(f, 3, "{\"n\":3}");
        ASSERT_DEFINITION(f, 6, "ENOENT");

        again = open_definitions(dir);
        ASSERT_EQ(size_of(dir, DEFINITION_FILE), 50);
        for (unsigned i = 1; i <= 5; i += 2)
                definition_file_need(again, i);
        definition_file_clean(again, false);
        ASSERT_EQ(size_of(dir, DEFINITION_FILE), 30);
        ASSERT_EQ(add(again, "{\"n\":6}"), 6);

        third = open_definitions(dir);
        for (unsigned i = 1; i <= 6; i++) {
                _cleanup_free_ char *json = strprintf("{\"n\":%u}", i);

                ASSERT_DEFINITION(third, i, i == 2 || i == 4 ? "ENOENT" : json);
        }
        for (unsigned i = 1; i <= 6; i++)
                definition_file_need(third, i);
        for (unsigned i = 1; i <= 6; i++)
                definition_file_remove(third, i);
        ASSERT_EQ(size_of(dir, DEFINITION_FILE), 0);
}

TEST(what_was_cut_is_ignored) {
        _cleanup_(tree_remove) char *dir = tree_new();
        static const char text[] = "1 {\"n\":1}\nnonsense\n\n7 {\"n\":7}\n3 {\"n\":3}\n8 {\"n\"";
        _cleanup_free_ char *path = tree_write(dir, DEFINITION_FILE, text, sizeof text - 1, 0600);
        _cleanup_(definition_file_freep) DefinitionFile *f = NULL, *again = NULL;

        f = open_definitions(dir);
        ASSERT_DEFINITION(f, 1, "{\"n\":1}");
        ASSERT_DEFINITION(f, 7, "{\"n\":7}");
        ASSERT_DEFINITION(f, 8, "ENOENT");
        ASSERT_EQ(add(f, "{\"n\":\"new\"}"), 8);

        again = open_definitions(dir);
        ASSERT_DEFINITION(again, 7, "{\"n\":7}");
        ASSERT_DEFINITION(again, 8, "{\"n\":\"new\"}");
}

TEST(what_nobody_needs_goes) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *json = object_of(2000), *stray = NULL;
        _cleanup_(definition_file_freep) DefinitionFile *f = NULL, *again = NULL;
        off_t max = 0;

        stray = tree_write(dir, DEFINITION_FILE ".new", "left", 4, 0600);
        f = open_definitions(dir);
        ASSERT_EQ(size_of(dir, DEFINITION_FILE ".new"), -ENOENT);
        ASSERT_EQ(add(f, "{\"n\":1}"), 1);
        for (unsigned i = 2; i < 2000; i++) {
                ASSERT_EQ(add(f, json), i);
                if (i > 11)
                        definition_file_remove(f, i - 10);
                max = MAX(max, size_of(dir, DEFINITION_FILE));
        }
        ASSERT_TRUE(max > 128 * 1024);
        ASSERT_TRUE(max < 256 * 1024);

        ASSERT_DEFINITION(f, 1, "{\"n\":1}");
        ASSERT_DEFINITION(f, 500, "ENOENT");
        ASSERT_DEFINITION(f, 1999, json);
        again = open_definitions(dir);
        ASSERT_DEFINITION(again, 1, "{\"n\":1}");
        ASSERT_DEFINITION(again, 1999, json);
}

TEST(what_a_newer_pmd_needs_stays) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(definition_file_freep) DefinitionFile *f = NULL;
        static const char text[] = "1 {\"n\":1}\n2 {\"n\":2}\n";
        _cleanup_free_ char *path = tree_write(dir, DEFINITION_FILE, text, sizeof text - 1, 0600);

        f = open_definitions(dir);
        definition_file_clean(f, true);
        ASSERT_EQ(add(f, "{}"), 3);
        definition_file_remove(f, 1);
        definition_file_remove(f, 3);
        ASSERT_DEFINITION(f, 1, "{\"n\":1}");
        ASSERT_DEFINITION(f, 2, "{\"n\":2}");
}

TEST(definitions_are_made_anew) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_(definition_file_freep) DefinitionFile *f = NULL, *again = NULL;

        f = open_definitions(dir);
        ASSERT_EQ(add(f, "{\"n\":1}"), 1);
        ASSERT_EQ(definition_file_check(f), 1);
        remove_file(dir, DEFINITION_FILE);
        ASSERT_EQ(definition_file_check(f), 0);
        definition_file_remove(f, 1);
        ASSERT_DEFINITION(f, 1, "ENOENT");
        ASSERT_EQ(add(f, "{\"n\":1}"), 2);

        again = open_definitions(dir);
        ASSERT_DEFINITION(again, 2, "{\"n\":1}");
}

TEST(a_full_disk_cuts_no_definition) {
        _cleanup_(tree_remove) char *dir = tree_new();
        _cleanup_free_ char *json = object_of(5000);
        _cleanup_(definition_file_freep) DefinitionFile *f = NULL, *again = NULL;

        f = open_definitions(dir);
        ASSERT_EQ(add(f, "{\"n\":1}"), 1);
        limit_files(2000);
        ASSERT_EQ(add(f, json), 0);
        ASSERT_EQ(size_of(dir, DEFINITION_FILE), 10);
        limit_files(RLIM_INFINITY);
        ASSERT_EQ(add(f, "{\"n\":2}"), 2);

        again = open_definitions(dir);
        ASSERT_DEFINITION(again, 1, "{\"n\":1}");
        ASSERT_DEFINITION(again, 2, "{\"n\":2}");
}
