/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Escapes as systemd does: letters, digits, ':', '_' and a '.' that is not first stay, '/' becomes '-', every other byte "\xNN".
 * So a '-' in an app's name never makes a slice below another. NULL if memory ran out. */
char *unit_name_escape(const char *s);

/* "pm-<app>.slice" and "pm-<app>-<id>-<n>.scope", with the prefix "app-pm" for the user manager. -ENAMETOOLONG above systemd's 255
 * bytes. */
int unit_name_slice(const char *app, bool user, char **ret);
int unit_name_scope(const char *app, unsigned id, unsigned incarnation, bool user, char **ret);
