#include "io/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/rng.h"

enum { NOTIFY_BYTES_MAX = 4096 };

rq_err notify_open(int *ret_fd, char ret_name[static NOTIFY_NAME_BYTES]) {
        RQ_CLEANUP(rq_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char name[NOTIFY_NAME_BYTES];
        uint64_t random;
        const int on = 1;
        if (fd < 0)
                return rq_err_from_errno(errno);

        rq_random_bytes(&random, sizeof random);
        int size = snprintf(name, sizeof name, "@rqd-%ld-%016llx", (long) getpid(), (unsigned long long) random);
        memcpy(address.sun_path + 1, name + 1, (size_t) size - 1); /* '@' stands for the NUL */
        socklen_t address_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + (size_t) size);
        if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
            bind(fd, (const struct sockaddr *) &address, address_size) < 0)
                return rq_err_from_errno(errno);
        memcpy(ret_name, name, sizeof name);
        *ret_fd = RQ_TAKE(fd, -1);
        return RQ_OK;
}

void notify_parse(char *text, notify_message *message) {
        char *line;
        while ((line = strsep(&text, "\n")) != NULL) {
                if (strcmp(line, "READY=1") == 0)
                        message->ready = true;
                else if (strcmp(line, "STOPPING=1") == 0)
                        message->stopping = true;
                else if (strcmp(line, "WATCHDOG=1") == 0)
                        message->alive = true;
                else if (strncmp(line, "EXTEND_TIMEOUT_USEC=", 20) == 0)
                        message->extend_us = strtoull(line + 20, NULL, 10);
                else if (strncmp(line, "STATUS=", 7) == 0) {
                        message->has_status = true;
                        (void) snprintf(message->status, sizeof message->status, "%s", line + 7);
                }
        }
}

rq_err notify_receive(int fd, notify_message *ret_message) {
        char text[NOTIFY_BYTES_MAX + 1];
        /* Room for the credentials and nothing more: descriptors that a sender
         * adds are closed by the kernel. */
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(struct ucred))];
        } control;
        struct iovec iov = { .iov_base = text, .iov_len = NOTIFY_BYTES_MAX };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control,
        };
        ssize_t size = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0)
                return errno == EINTR ? RQ_EPROTO : RQ_EAGAIN;
        const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if ((message.msg_flags & MSG_TRUNC) != 0 || header == NULL || header->cmsg_level != SOL_SOCKET ||
            header->cmsg_type != SCM_CREDENTIALS || header->cmsg_len != CMSG_LEN(sizeof(struct ucred)))
                return RQ_EPROTO;

        struct ucred sender;
        memcpy(&sender, CMSG_DATA(header), sizeof sender);
        text[size] = '\0';
        *ret_message = (notify_message) { .pid = sender.pid };
        notify_parse(text, ret_message);
        return RQ_OK;
}
