/* What the first word of rqd's command line is, if it is no flag: a command, a data directory, or what
 * is neither: a command that was mistyped, or one that rqd doesn't have, must not found a node in a
 * folder of that name. Knows no files. */
#ifndef LAUNCH_COMMAND_H
#define LAUNCH_COMMAND_H

typedef enum command_kind {
        COMMAND_NONE,       /* a data directory */
        COMMAND_DOCTOR, COMMAND_RECOVER,
        COMMAND_HELP, COMMAND_VERSION,
        COMMAND_WRONG,      /* a data directory only if it is there already */
} command_kind;

/* *ret_advice, with COMMAND_WRONG: what would be right, in words; static. A word with a slash is
 * always a data directory. */
command_kind command_of(const char *word, const char **ret_advice);

#endif
