#include "io/run_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { RUN_FILE_BYTES_MAX = 64 * 1024 };

json_t *run_file_json(int run_dir_fd, const char *name) {
        char text[RUN_FILE_BYTES_MAX];
        RQ_CLEANUP(rq_closep) int fd = openat(run_dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return NULL;
        size_t size = 0;
        ssize_t n;
        while (size < sizeof text && (n = read(fd, text + size, sizeof text - size)) > 0)
                size += (size_t) n;
        json_t *json = json_loadb(text, size, 0, NULL);
        if (json_is_object(json))
                return json;
        json_decref(json);
        return NULL;
}
