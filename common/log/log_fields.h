/* Names of all journal fields and of the MESSAGE_IDs of the events that an
 * operator acts on, each once. docs/logging.md explains them. */
#ifndef RQ_LOG_FIELDS_H
#define RQ_LOG_FIELDS_H

#define RQ_FIELD_NODE      "RQ_NODE"
#define RQ_FIELD_TERM      "RQ_TERM"
#define RQ_FIELD_INDEX     "RQ_INDEX"
#define RQ_FIELD_PEER      "RQ_PEER"
#define RQ_FIELD_FILE      "RQ_FILE"
#define RQ_FIELD_OFFSET    "RQ_OFFSET"
#define RQ_FIELD_ERROR     "RQ_ERROR"
#define RQ_FIELD_CHILD     "RQ_CHILD"

#define RQ_MSG_LOG_CORRUPT    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a01"
#define RQ_MSG_LOG_TORN       "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a02"
#define RQ_MSG_DISK_FULL      "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a03"
#define RQ_MSG_STORE_MISMATCH "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a04"
#define RQ_MSG_CHILD_DIED     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a05"
#define RQ_MSG_CHILD_HUNG     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a06"
#define RQ_MSG_BAD_CONFIG     "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a07"
#define RQ_MSG_APPLY_STOPPED  "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a08"
#define RQ_MSG_LEADER_ELECTED "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a09"
#define RQ_MSG_LOGIN_REFUSED  "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a40"
#define RQ_MSG_LEADER_LOST    "MESSAGE_ID=2c1f6c60a5e94d3e8f0b6f7d9d3e1a0a"

#endif
