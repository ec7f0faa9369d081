#include "base/err.h"

const char *rq_err_text(rq_err err) {
        switch (err) {
        case RQ_OK: return "success";
#define X(name, value, text) case name: return text;
        RQ_ERR_MAP(X)
#undef X
        }
        return "unknown error";
}

rq_err rq_err_from_errno(int errno_value) {
        switch (errno_value) {
        case 0: return RQ_OK;
        case ENOMEM: return RQ_ENOMEM;
        case ENOENT: return RQ_ENOENT;
        case EEXIST: return RQ_EEXIST;
        case EPERM:
        case EROFS:
        case EACCES: return RQ_EACCES;
        case EINVAL: return RQ_EINVAL;
        case EDQUOT:
        case EFBIG: /* RLIMIT_FSIZE: may be lifted, as space may be made */
        case ENOSPC: return RQ_ENOSPC;
        case ENFILE:
        case EMFILE: return RQ_EMFILE;
        case ENOTDIR: return RQ_ENOTDIR;
        case EBUSY: return RQ_EBUSY;
        case ECONNRESET:
        case ECONNREFUSED:
        case EPIPE: return RQ_EPIPE;
        case EADDRINUSE: return RQ_EADDRINUSE;
        case ETIMEDOUT: return RQ_ETIMEOUT;
        default: return RQ_EIO;
        }
}
