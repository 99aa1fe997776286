/* SPDX-License-Identifier: MIT */
#pragma once

/* libpmd: the C client API of pmd, on sd-bus. pmctl is made of it.
 *
 * Errors: functions return 0 or more on success and a negative errno on failure; where they take a pmd_error, it holds the stable name
 * ("org.pmd1.Error.NoSuchProcess") and a sentence for people. A call that pmd refused returns the errno nearest to the error's name.
 * Ownership: ret_… parameters give something to be freed with the function named; strings inside structs belong to the struct.
 * Threads: one connection belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pmd_connection pmd_connection;
typedef struct pmd_definition pmd_definition;

typedef struct pmd_error {
        char *name;    /* NULL: none */
        char *message;
} pmd_error;

void pmd_error_free(pmd_error *e); /* frees what it holds and sets it to empty */

/* ---- connection ---- */

typedef enum pmd_scope {
        PMD_SCOPE_AUTO,    /* private if $PMD_HOME or $PM2_HOME is set or no systemd runs, else system for root, else user */
        PMD_SCOPE_SYSTEM,
        PMD_SCOPE_USER,
        PMD_SCOPE_PRIVATE,
} pmd_scope;

#define PMD_OPEN_NO_START (1U << 0)    /* fail with -ECONNREFUSED instead of starting pmd */
#define PMD_OPEN_INTERACTIVE (1U << 1) /* polkit may ask for a password */

/* Connects, starting pmd if none serves: by D-Bus activation, or, for a private instance, by launching it (one, however many clients
 * try at once). home: of a private instance (which AUTO then means), NULL for the default. -ETIMEDOUT if pmd does not come up in 10 s. */
int pmd_open(pmd_scope scope, const char *home, unsigned flags, pmd_connection **ret, pmd_error *reterr);
pmd_connection *pmd_close(pmd_connection *c);

/* The sd_bus below it (sd_bus *), for what this API lacks; still owned by the connection. */
void *pmd_get_bus(pmd_connection *c);
pmd_scope pmd_get_scope(pmd_connection *c);
const char *pmd_get_home(pmd_connection *c);
/* Whether this pmd_open() launched pmd. */
bool pmd_was_started(pmd_connection *c);

/* Microseconds a synchronous call waits for its answer; 0: the default of sd-bus, 25 s. */
void pmd_set_timeout(pmd_connection *c, uint64_t usec);

/* For an event loop: the fd and the poll events to wait for, the CLOCK_MONOTONIC deadline in µs, and what to call then.
 * pmd_dispatch() returns 1 while there is more to do, 0, or a negative errno: the connection is of no use any more. */
int pmd_get_fd(pmd_connection *c);
int pmd_get_events(pmd_connection *c);
int pmd_get_timeout(pmd_connection *c, uint64_t *ret_usec);
int pmd_dispatch(pmd_connection *c);
/* Blocks until something is to be processed, usec at most (UINT64_MAX: for ever). */
int pmd_wait(pmd_connection *c, uint64_t usec);

/* ---- definitions ---- */

int pmd_definition_new(pmd_definition **ret);
pmd_definition *pmd_definition_free(pmd_definition *d);
/* By the names of pmd-app(5). pmd checks them; here only the memory can fail. */
int pmd_definition_set_string(pmd_definition *d, const char *key, const char *value);
int pmd_definition_set_strv(pmd_definition *d, const char *key, char *const *value);
int pmd_definition_set_bool(pmd_definition *d, const char *key, bool value);
int pmd_definition_set_int(pmd_definition *d, const char *key, int64_t value);

/* ---- what pmd knows ---- */

typedef struct pmd_attribute {
        char *key;
        enum { PMD_ATTRIBUTE_STRING, PMD_ATTRIBUTE_STRV, PMD_ATTRIBUTE_BOOL, PMD_ATTRIBUTE_INT, PMD_ATTRIBUTE_INTV } type;
        char *string;
        char **strv;
        int64_t integer; /* also of a bool */
        int64_t *integers;
        size_t n_integers;
} pmd_attribute;

typedef struct pmd_process {
        uint32_t id, instance, pid, n_restarts, unstable_restarts;
        char *name, *name_space, *status, *exec_mode;
        uint64_t start_usec, created_usec; /* CLOCK_REALTIME; 0: never */
        int exit_code, exit_signal;        /* -1, 0: none */
        char *exit_reason;
        uint64_t memory, cpu_nsec, tasks;  /* UINT64_MAX: unknown */
        double cpu_percent;
        char *user, *version, *unit, *executable, *interpreter;
        char **interpreter_args, **args;
        char *cwd, *out_log_path, *error_log_path, *pid_file, *unique_id;
        char *status_text; /* what it says of itself by sd_notify(3); "" if nothing */
        char **notes;      /* what to know about it, a sentence each */
        bool watching;
        pmd_attribute *attributes;
        size_t n_attributes;
        char **environment; /* NULL unless asked for and allowed; instances of an app may share one, which goes with the last of the list */
} pmd_process;

#define PMD_LIST_ENVIRONMENT (1U << 0) /* with the environments; -EACCES if one may not be read */

/* targets: NULL or empty for all. */
int pmd_list(pmd_connection *c, char *const *targets, unsigned flags, pmd_process **ret, size_t *ret_n, pmd_error *reterr);
void pmd_process_free_many(pmd_process *p, size_t n);

int pmd_ping(pmd_connection *c, pmd_error *reterr);
/* "7.0.4"-like version of the daemon; to be freed with free(3). */
int pmd_get_version(pmd_connection *c, char **ret, pmd_error *reterr);

/* ---- requests ---- */

typedef struct pmd_failure {
        uint32_t process_id;
        char *error_name, *message;
} pmd_failure;

/* How a request ended, all its jobs together. */
typedef struct pmd_result {
        uint32_t *process_ids; /* what it was about */
        size_t n_processes;
        bool canceled;
        pmd_failure *failures;
        size_t n_failures;
} pmd_result;

void pmd_result_free(pmd_result *r); /* what it holds */

typedef enum pmd_verb { PMD_START, PMD_STOP, PMD_RESTART, PMD_DELETE, PMD_RELOAD } pmd_verb;

/* Both wait until the jobs have ended. 0 if all went well; -EREMOTEIO if something failed, with *ret telling what; another negative errno,
 * with *reterr, if nothing was done. */
int pmd_start_app(pmd_connection *c, const pmd_definition *d, bool force, pmd_result *ret, pmd_error *reterr);
int pmd_request(pmd_connection *c, pmd_verb verb, char *const *targets, pmd_result *ret, pmd_error *reterr);

/* Restarts with a changed definition: what d says is changed, a string "null" takes an attribute back to its default. "env" takes the place of
 * the environment, but for the variables that the definition itself sets ("own_env" names them). Nothing is done if one of the definitions
 * would be invalid. */
#define PMD_CHANGE_REPLACE (1U << 0) /* d is the whole definition, with the whole environment */
int pmd_restart_changed(pmd_connection *c, char *const *targets, const pmd_definition *d, unsigned flags, pmd_result *ret, pmd_error *reterr);

/* As a restart, with d or, if it is NULL, without a change; but where that is possible (cluster mode, held sockets) a new process takes the place
 * of each when it is ready, and the old one finishes what it has begun. parallel: of each app as many at a time, 0: one. A new process that fails
 * leaves the old one as it was, ends the reload of its app, and is one of the failures. */
int pmd_reload(pmd_connection *c, char *const *targets, const pmd_definition *d, unsigned flags, unsigned parallel, pmd_result *ret, pmd_error *reterr);

/* Tells of each process that a reload of this connection is done with, while the function waits, or from pmd_dispatch(): done of total processes of
 * its app have been. callback NULL: no more. It may not close the connection. */
typedef void (*pmd_progress_t)(pmd_connection *c, const char *app, uint32_t process_id, uint32_t done, uint32_t total, void *userdata);
int pmd_set_progress(pmd_connection *c, pmd_progress_t callback, void *userdata);

/* Makes processes of an app, or deletes those with the lowest ids, until there are so many; relative: so many more, or fewer. The error
 * "org.pmd1.Error.NothingToDo" if there are as many already. */
int pmd_scale(pmd_connection *c, const char *app, int instances, bool relative, pmd_result *ret, pmd_error *reterr);

/* The same without waiting: done() is called from pmd_dispatch(), and may call anything, pmd_close() too. error is NULL on
 * success and with -EREMOTEIO, result empty on other failures; both are gone afterwards. pmd_close() forgets what has not been told yet. */
typedef void (*pmd_done_t)(pmd_connection *c, int r, const pmd_result *result, const pmd_error *error, void *userdata);
int pmd_start_app_async(pmd_connection *c, const pmd_definition *d, bool force, pmd_done_t done, void *userdata);
int pmd_request_async(pmd_connection *c, pmd_verb verb, char *const *targets, pmd_done_t done, void *userdata);
int pmd_restart_changed_async(pmd_connection *c, char *const *targets, const pmd_definition *d, unsigned flags, pmd_done_t done, void *userdata);
int pmd_reload_async(pmd_connection *c, char *const *targets, const pmd_definition *d, unsigned flags, unsigned parallel, pmd_done_t done,
                     void *userdata);

/* Saves all processes. ret_path (may be NULL): the file, to be freed with free(3); ret_n: how many. -ENODATA if there are none and
 * force is not given. If it fails the list saved before is as it was. */
int pmd_save(pmd_connection *c, bool force, char **ret_path, uint32_t *ret_n, pmd_error *reterr);
/* Saves an empty list. */
int pmd_clear_saved(pmd_connection *c, char **ret_path, pmd_error *reterr);

typedef struct pmd_restored {
        char *path;
        char **skipped;  /* apps of the list that there were already */
        char **warnings; /* for people: a damaged list, an app whose script is missing */
} pmd_restored;

void pmd_restored_free(pmd_restored *r); /* what it holds */

/* Makes the processes of the saved list again, starts those that were not stopped, and waits until the jobs have ended. Returns as
 * pmd_request() does, *ret_restored is set with 0 and -EREMOTEIO; -ENOENT if there is no saved list, -EBADMSG if it is damaged. */
int pmd_resurrect(pmd_connection *c, pmd_restored *ret_restored, pmd_result *ret, pmd_error *reterr);

/* ---- events and messages ---- */

/* What happens, by pm2's names ("process:event", "log:out", "process:msg", …; see pmd.bus(5)); packet: JSON text. Both strings are gone afterwards. It is
 * called from pmd_dispatch(), and from any call that waits for its answer; it may call anything, pmd_close() too. "pmd:skipped" says that events
 * are missing, because they were not read; "pmd:resumed", that pmd was restarted and its events follow again. */
typedef void (*pmd_event_t)(pmd_connection *c, const char *name, const char *packet, void *userdata);

/* filters: names of events, "*" for any text in them; copied; NULL or empty for all. A connection has one subscription: a second call replaces it.
 * -EACCES if the events of this pmd are not for the caller. It ends with the connection,
 * and goes on with the pmd that comes after one that died ("pmd:resumed"); what happened between them is missing. */
int pmd_subscribe_events(pmd_connection *c, char *const *filters, pmd_event_t callback, void *userdata, pmd_error *reterr);
/* No callback any more, whatever it returns. */
int pmd_unsubscribe_events(pmd_connection *c, pmd_error *reterr);

/* Sends a message, any JSON value, over the channel that Node programs have (process.on('message')). 0: it is on its way. -ESRCH: the process
 * does not run; -EOPNOTSUPP: it has no channel; -ENOBUFS: it does not read. */
int pmd_send_message(pmd_connection *c, uint32_t id, const char *json, pmd_error *reterr);
/* Writes a line, to which a newline is added, to the standard input of a process whose definition has "stdin". Errors as above. */
int pmd_send_line(pmd_connection *c, uint32_t id, const char *line, pmd_error *reterr);

typedef struct pmd_answer {
        uint32_t process_id;
        char *packet;                     /* JSON: {at, data: {return, …}, process}; NULL: there is an error instead */
        char *error_name, *error_message; /* NULL, or why this process did not answer */
} pmd_answer;

void pmd_answer_free_many(pmd_answer *a, size_t n);

/* Triggers an action that apps have announced ("axm:action"), and waits for the answers of all of them, timeout_usec at most (0: 10 s). parameters:
 * JSON text, or NULL. 0 with one answer for each process, in the order of their ids; *ret is to be freed with pmd_answer_free_many(). */
int pmd_trigger(pmd_connection *c, char *const *targets, const char *action, const char *parameters, uint64_t timeout_usec, pmd_answer **ret,
                size_t *ret_n, pmd_error *reterr);

/* What a process tells of itself in messages: an object with "axm_actions", "axm_monitor", "axm_options", and perhaps "node_version". */
typedef struct pmd_report {
        uint32_t process_id;
        char *json;
} pmd_report;

void pmd_report_free_many(pmd_report *r, size_t n);
/* Of those processes that do. targets: NULL or empty for all. -EACCES if they may not be read; nobody is asked for a password. */
int pmd_list_reports(pmd_connection *c, char *const *targets, pmd_report **ret, size_t *ret_n, pmd_error *reterr);

/* Has pmd read pmd.conf again. */
int pmd_reload_settings(pmd_connection *c, pmd_error *reterr);

/* The ids that were touched, to be freed with free(3). */
int pmd_reset(pmd_connection *c, char *const *targets, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr);
/* Turns watching on where it is off, and off where it is on. */
int pmd_toggle_watch(pmd_connection *c, char *const *targets, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr);
int pmd_send_signal(pmd_connection *c, char *const *targets, bool whole_unit, int signo, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr);
/* Empties log files; targets NULL: of all apps. */
int pmd_flush_logs(pmd_connection *c, char *const *targets, uint32_t **ret_ids, size_t *ret_n, pmd_error *reterr);
/* Attributes that can change while the processes run, see pmd-app(5); "" takes one back to its default. */
int pmd_set_properties(pmd_connection *c, char *const *targets, const pmd_definition *properties, uint32_t **ret_ids, size_t *ret_n,
                       pmd_error *reterr);
int pmd_reopen_logs(pmd_connection *c, pmd_error *reterr);
/* Has pmd started again, which apps do not notice; returns when the next one serves. -EOPNOTSUPP if nobody would start it. */
int pmd_reexecute(pmd_connection *c, pmd_error *reterr);
/* Stops all apps and ends pmd; returns when it is gone. */
int pmd_exit(pmd_connection *c, pmd_error *reterr);

#ifdef __cplusplus
}
#endif
