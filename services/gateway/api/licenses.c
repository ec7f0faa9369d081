#include "api/api.h"

const char licenses_text[] =
        "Libraries that this server uses, and their licences. Full texts are where the\n"
        "distribution keeps them (Debian: /usr/share/doc/PACKAGE/copyright).\n"
        "\n"
        "SQLite         public domain\n"
        "libevent       3-clause BSD; copyright Niels Provos, Nick Mathewson and others\n"
        "http-parser    MIT; copyright Joyent, Inc. and other Node contributors\n"
        "yajl           ISC; copyright Lloyd Hilaiel\n"
        "jansson        MIT; copyright Petri Lehtinen\n"
        "protobuf-c     2-clause BSD; copyright Dave Benson and the protobuf-c authors\n"
        "libsystemd     LGPL-2.1-or-later\n"
        "GNU C Library  LGPL-2.1-or-later\n";
