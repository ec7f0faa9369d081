/* A small JSON file that another process of the node leaves in the runtime
 * directory. */
#ifndef RQ_GATEWAY_RUN_FILE_H
#define RQ_GATEWAY_RUN_FILE_H

#include <jansson.h>

/* An object; NULL if there is none, or it is no object. */
json_t *run_file_json(int run_dir_fd, const char *name);

#endif
