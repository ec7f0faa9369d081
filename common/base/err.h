/* One space of error codes for the whole system: 0 is success, errors are
 * negative, an errno is reused where it fits. Codes decide, texts inform:
 * rq_err_text() is for log lines and HTTP bodies only. */
#ifndef RQ_BASE_ERR_H
#define RQ_BASE_ERR_H

#include <errno.h>

#define RQ_ERR_MAP(X)                                                          \
        X(RQ_ENOMEM,     -ENOMEM,    "out of memory")                          \
        X(RQ_EIO,        -EIO,       "storage failed")                         \
        X(RQ_ENOENT,     -ENOENT,    "not found")                              \
        X(RQ_EEXIST,     -EEXIST,    "already exists")                         \
        X(RQ_EACCES,     -EACCES,    "permission denied")                      \
        X(RQ_EINVAL,     -EINVAL,    "invalid argument")                       \
        X(RQ_ENOSPC,     -ENOSPC,    "no space left: disk, quota, or limit on the size of files") \
        X(RQ_EMFILE,     -EMFILE,    "too many open files: raise the limit (LimitNOFILE=, ulimit -n)") \
        X(RQ_ENOTDIR,    -ENOTDIR,   "a file is where a folder should be")     \
        X(RQ_EBUSY,      -EBUSY,     "in use by another process")              \
        X(RQ_EPIPE,      -EPIPE,     "connection closed")                      \
        X(RQ_EADDRINUSE, -EADDRINUSE, "address already in use")                \
        X(RQ_ENOTLEADER, -1000,      "this node is not the leader")            \
        X(RQ_EFULL,      -1001,      "queue is full")                          \
        X(RQ_ECORRUPT,   -1002,      "stored data failed its checksum")        \
        X(RQ_EPROTO,     -1003,      "peer broke the message contract")        \
        X(RQ_EVERSION,   -1004,      "format or protocol version not supported") \
        X(RQ_ETOOBIG,    -1005,      "larger than the limit")                  \
        X(RQ_ETIMEOUT,   -1006,      "deadline passed")                        \
        X(RQ_ECONFIG,    -1007,      "invalid configuration")                  \
        X(RQ_EAGAIN,     -1008,      "not ready")                              \
        X(RQ_ECANCELED,  -1009,      "cancelled")                              \
        X(RQ_EDIVERGED,  -1010,      "stored data does not fit the log")    \
        X(RQ_ETLS,       -1020,      "TLS failed")

#define X(name, value, text) name = value,
typedef enum rq_err { RQ_OK = 0, RQ_ERR_MAP(X) } rq_err;
#undef X

/* Static text; never NULL, also for an unknown code. */
const char *rq_err_text(rq_err err);

/* The code for an errno value; what has no code of its own becomes RQ_EIO. */
rq_err rq_err_from_errno(int errno_value);

#endif
