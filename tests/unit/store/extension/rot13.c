/* An extension for the tests: rot13(text), which is deterministic, and dice(),
 * which isn't. Compiled with -DBROKEN its start fails. */
#include <sqlite3ext.h>
#include <stddef.h>
SQLITE_EXTENSION_INIT1

static void rot13(sqlite3_context *context, int argc, sqlite3_value **argv) {
        const unsigned char *in = sqlite3_value_text(argv[0]);
        (void) argc;
        char out[256];
        int n = 0;
        for (; in != NULL && in[n] != '\0' && n < 255; n++) {
                unsigned char c = in[n], base = c >= 'a' && c <= 'z' ? 'a' : 'A';
                out[n] = (char) ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? base + (c - base + 13) % 26 : c);
        }
        sqlite3_result_text(context, out, n, SQLITE_TRANSIENT);
}

static void dice(sqlite3_context *context, int argc, sqlite3_value **argv) {
        (void) argc;
        (void) argv;
        sqlite3_result_int(context, 4);
}

int sqlite3_extension_init(sqlite3 *db, char **problem, const sqlite3_api_routines *api);
int sqlite3_extension_init(sqlite3 *db, char **problem, const sqlite3_api_routines *api) {
        SQLITE_EXTENSION_INIT2(api)
        int rc = sqlite3_create_function(db, "rot13", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, 0, rot13, 0, 0);
        if (rc == SQLITE_OK)
                rc = sqlite3_create_function(db, "dice", 0, SQLITE_UTF8, 0, dice, 0, 0);
#ifdef BROKEN
        *problem = sqlite3_mprintf("no luck today");
        rc = SQLITE_ERROR;
#else
        (void) problem;
#endif
        return rc;
}
