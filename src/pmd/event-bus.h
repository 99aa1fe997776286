/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmd/log-relay.h"
#include "pmd/pmd-forward.h"
#include "pmd/process.h"

/* What happens, told as pm2's event bus tells it: named events with a JSON packet, to those who have subscribed. Without subscribers nothing is
 * built; what apps say of themselves (actions, metrics) is kept all the same. */

/* Who takes the events: set while there are subscribers. */
struct EventSink {
        bool (*wants)(const char *name, void *userdata);
        void (*publish)(const char *name, const char *json, size_t n, void *userdata);
        void *userdata;
};

/* A message that an app sent over its channel: n bytes of JSON, any value; what is not JSON is ignored. It becomes an event of the bus,
 * unless it is one of those that pmd keeps for itself. */
void manager_process_message(Process *p, const char *json, size_t n);

/* "process:event" of what happened by itself. */
void event_bus_process_changed(Process *p, ProcessField changed);
/* "process:event" of what a job has done: "start", "stop", …; manually: somebody asked for it. */
void event_bus_process_done(Process *p, const char *verb, bool manually);
/* "log:out", "log:err" */
void event_bus_line(Manager *m, const LogTapLine *line);
/* "log:PM2", a message of pmd itself */
void event_bus_own_line(Manager *m, const char *text);
/* "pm2:kill" */
void event_bus_killed(Manager *m);
/* "pmd:skipped": so many events of this subscriber are missing. New memory, NULL if there is none. */
char *event_bus_skipped_packet(uint64_t n);

/* event-packet.c: the name of the event and the packet that a message becomes. 0 with new memory and a new reference, or -ENOMEM. */
int event_packet_from_message(const Process *p, json_object *message, uint64_t at_msec, char **ret_name, json_object **ret_packet);
/* As jlist has it, without the environment. NULL if memory ran out. */
json_object *event_pm2_env(const Process *p);
