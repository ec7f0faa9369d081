/* Names of all journal fields and of the MESSAGE_IDs of the events that an
 * operator acts on, each once. docs/logging.md lists them, systemd/rq.catalog
 * explains them to journalctl -x; tests/lint compares the three. */
#ifndef RQ_LOG_FIELDS_H
#define RQ_LOG_FIELDS_H

#define RQ_FIELD_NODE      "RQ_NODE"     /* this node; log.c adds it */
#define RQ_FIELD_LEADER    "RQ_LEADER"
#define RQ_FIELD_TERM      "RQ_TERM"
#define RQ_FIELD_INDEX     "RQ_INDEX"
#define RQ_FIELD_REQUEST   "RQ_REQUEST"
#define RQ_FIELD_PEER      "RQ_PEER"     /* another node */
#define RQ_FIELD_SERVICE   "RQ_SERVICE"  /* another service of this node */
#define RQ_FIELD_CHILD     "RQ_CHILD"
#define RQ_FIELD_CLIENT    "RQ_CLIENT"
#define RQ_FIELD_USER      "RQ_USER"
#define RQ_FIELD_STATEMENT "RQ_STATEMENT" /* SQL without literals: core/sql_shape.h of the store */
#define RQ_FIELD_DURATION  "RQ_DURATION_MS"
#define RQ_FIELD_FILE      "RQ_FILE"
#define RQ_FIELD_OFFSET    "RQ_OFFSET"
#define RQ_FIELD_ERROR     "RQ_ERROR"
#define RQ_FIELD_SUPPRESSED "RQ_SUPPRESSED" /* log.c adds it */

#define RQ_MSG_LOG_CORRUPT    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a01"
#define RQ_MSG_LOG_TORN       "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a02"
#define RQ_MSG_DISK_FULL      "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a03"
#define RQ_MSG_STORE_MISMATCH "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a04"
#define RQ_MSG_CHILD_DIED     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a05"
#define RQ_MSG_CHILD_HUNG     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a06"
#define RQ_MSG_BAD_CONFIG     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a07"
#define RQ_MSG_APPLY_STOPPED  "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a08"
#define RQ_MSG_LEADER_ELECTED "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a09"
#define RQ_MSG_LEADER_LOST    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a0a"
#define RQ_MSG_SPACE_BACK     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a0b"
#define RQ_MSG_APPLY_RESUMED  "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a0c"
#define RQ_MSG_SYNC_FAILED    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a0d"
#define RQ_MSG_SLOW_STATEMENT "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a0e"
#define RQ_MSG_MEMBER_LOST    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a0f"
#define RQ_MSG_MEMBER_BACK    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a10"
#define RQ_MSG_CLOCK_OFF      "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a11"
#define RQ_MSG_NODE_FOREIGN   "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a12"
#define RQ_MSG_NOT_VOTING     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a13"
#define RQ_MSG_FORMED         "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a14"
#define RQ_MSG_NOT_FORMED     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a15"
#define RQ_MSG_CANNOT_LISTEN  "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a16"
#define RQ_MSG_FOLDER_IN_USE  "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a17"
#define RQ_MSG_LINK_BROKEN    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a18"
#define RQ_MSG_NO_LEADER      "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a19"
#define RQ_MSG_CERTIFICATE_EXPIRES "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a26"
#define RQ_MSG_CERTIFICATE_REFUSED "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a27"
#define RQ_MSG_RELOADED            "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a2a"
#define RQ_MSG_RELOAD_FAILED       "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a2b"
#define RQ_MSG_NOT_JOINED     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a1a"
#define RQ_MSG_SEED_FAILED    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a1b"
#define RQ_MSG_MEMBERS_CHANGED     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a23"
#define RQ_MSG_REMOVED             "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a24"
#define RQ_MSG_SEEDED              "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a22"
#define RQ_MSG_DATABASE_REPLACED   "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a25"
#define RQ_MSG_LOGIN_REFUSED       "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a28"
#define RQ_MSG_DIVERGED            "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a21"
#define RQ_MSG_PROFILES_DIFFER     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a2c"

/* In reserve: documented, explained, and to be used by what is being built.
 * tests/lint knows these names. */
#define RQ_MSG_DATABASE_ROT        "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a20"
#define RQ_MSG_BACKUP_FAILED       "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a29"

#endif
