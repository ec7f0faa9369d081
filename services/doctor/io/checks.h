/* The checks: each looks at one thing outside and adds what it found. None
 * changes anything, waits without a limit, or fails: what can't be looked at is
 * UNKNOWN. */
#ifndef RQ_DOCTOR_IO_CHECKS_H
#define RQ_DOCTOR_IO_CHECKS_H

#include <stdbool.h>

#include "config/config.h"
#include "core/findings.h"
#include "io/http_get.h"
#include "io/own_node.h"

/* Folders and files of the node: there, whose, with which mode. */
void check_folders(findings *f, const rq_config *config);

/* Type, space and, unless quick, the time of fdatasync of the data folder's
 * file system: at most DISK_SECONDS. */
enum { DISK_SECONDS = 2 };
void check_disk(findings *f, const rq_config *config, bool quick);

/* Clock, limits, kernel settings, memory. */
void check_host(findings *f, const rq_config *config);

/* Ports and sockets: free, or this node's. */
void check_ports(findings *f, const rq_config *config, const own_node *own);

/* Is this node ready, if it runs? Does it run, if there is one in the data folder? */
void check_running(findings *f, const rq_config *config, const http_user *user, const own_node *own);

/* This node and, as it tells, the others: reachable, same version, same time.
 * user: as whom to ask. */
void check_nodes(findings *f, const rq_config *config, const http_user *user, const own_node *own);

/* Dates, keys and modes of the files that the flags name. */
void check_certificates(findings *f, const rq_config *config);

#endif
