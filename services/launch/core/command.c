#include "core/command.h"

#include <ctype.h>
#include <string.h>

#include "base/edit_distance.h"

#define RUN "rqd DATA_DIR runs a node, and founds it where there is none"
#define STOP "stop rqd with SIGTERM or Ctrl-C (under systemd: systemctl stop rq.target)"

static const struct { const char *word; command_kind kind; const char *meant; } commands[] = {
        { "doctor",  COMMAND_DOCTOR,  "did you mean rqd doctor?" },
        { "recover", COMMAND_RECOVER, "did you mean rqd recover?" },
        { "help",    COMMAND_HELP,    "did you mean rqd help?" },
        { "version", COMMAND_VERSION, "did you mean rqd version?" },
};

/* Commands of other programs of this kind. */
static const struct { const char *word, *advice; } others[] = {
        { "status", "ask the node (curl http://localhost:4001/status?pretty), or rqd doctor" },
        { "nodes", "ask the node (curl http://localhost:4001/nodes?pretty)" },
        { "start", RUN }, { "run", RUN }, { "serve", RUN }, { "init", RUN },
        { "stop", STOP }, { "shutdown", STOP }, { "restart", STOP },
        { "reload", "SIGHUP to rqd reads users, certificates and the log's level again" },
        { "join", "rqd -join HOST:PORT DATA_DIR joins a cluster" },
        { "remove", "ask a node (curl -XDELETE http://localhost:4001/remove -d '{\"id\":\"NODE\"}')" },
        { "backup", "ask the node (curl http://localhost:4001/db/backup -o FILE)" },
        { "restore", "ask the node (curl -XPOST http://localhost:4001/db/load --data-binary @FILE)" },
        { "shell", "there is none yet: curl http://localhost:4001/db/query" },
        { "check", "rqd --check-config, or rqd doctor" },
        { "check-config", "rqd --check-config" }, { "print-config", "rqd --print-config" },
        { "upgrade", "stop rqd, install the new version, start it" },
};

command_kind command_of(const char *word, const char **ret_advice) {
        char lower[RQ_EDIT_WORD_BYTES_MAX + 1];
        size_t size = strlen(word), distance;
        for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
                if (strcmp(word, commands[i].word) == 0)
                        return commands[i].kind;
        if (size > RQ_EDIT_WORD_BYTES_MAX || strchr(word, '/') != NULL)
                return COMMAND_NONE;
        for (size_t i = 0; i <= size; i++)
                lower[i] = (char) tolower((unsigned char) word[i]);
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
                if (strcmp(lower, others[i].word) == 0) {
                        *ret_advice = others[i].advice;
                        return COMMAND_WRONG;
                }
        /* The first letter is seldom wrong: "sector" is no "doctor". */
        for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
                if (lower[0] == commands[i].word[0] && rq_is_mistyped(rq_bytes_text(lower), rq_bytes_text(commands[i].word), &distance)) {
                        *ret_advice = commands[i].meant;
                        return COMMAND_WRONG;
                }
        return COMMAND_NONE;
}
