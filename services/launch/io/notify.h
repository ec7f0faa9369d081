/* The receiving end of sd_notify(3): a datagram socket with an abstract name,
 * so that neither a deep folder nor a leftover file gets in the way. */
#ifndef LAUNCH_NOTIFY_H
#define LAUNCH_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { NOTIFY_NAME_BYTES = 64, NOTIFY_STATUS_BYTES = 256 };

typedef struct notify_message {
        pid_t pid;           /* the kernel's word, not the sender's */
        bool ready, stopping, alive;
        uint64_t extend_us;  /* 0: none */
        bool has_status;
        char status[NOTIFY_STATUS_BYTES];
} notify_message;

/* ret_name: value for NOTIFY_SOCKET. */
rq_err notify_open(int *ret_fd, char ret_name[static NOTIFY_NAME_BYTES]);

/* One message. Errors: RQ_EAGAIN (no more now), RQ_EPROTO (not one; go on). */
rq_err notify_receive(int fd, notify_message *ret_message);

/* Reads "NAME=value" lines; unknown ones are skipped. Leaves pid alone. */
void notify_parse(char *text, notify_message *message);

#endif
