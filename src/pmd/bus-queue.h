/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/job.h"
#include "pmd/process.h"

/* What pmd says unasked: signals, to the bus and to every client of the private socket. Nothing here fails towards
 * the caller: a client that cannot be told is closed. All accept f == NULL.
 *
 * app_new and process_new come when the object can be found in the manager's registries; process_new announces its
 * app too, if that has not been done. The …_removed come before the object is freed. */
void bus_face_app_new(BusFace *f, App *a);
void bus_face_app_removed(BusFace *f, App *a);
void bus_face_process_new(BusFace *f, Process *p);
void bus_face_process_removed(BusFace *f, Process *p);

/* Sends PropertiesChanged at once: called once per turn of the loop, with all that has changed since. */
void bus_face_process_changed(BusFace *f, Process *p, ProcessField fields);

void bus_face_job_new(BusFace *f, const Job *j);
void bus_face_job_progress(BusFace *f, const Job *j, uint32_t process_id);
void bus_face_job_removed(BusFace *f, const Job *j, JobResult result);

/* For bus-face.c: the changes of apps wait in a queue of their own. */
int bus_queue_init(BusFace *f);
void bus_queue_done(BusFace *f);
