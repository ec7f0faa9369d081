/* Times of DATE, DATETIME and TIMESTAMP columns as RFC 3339, as rqlite shows
 * them. Knows no clock and no zone but UTC and the offset in the text. */
#ifndef RQ_STORE_JSON_TIME_H
#define RQ_STORE_JSON_TIME_H

#include "base/bytes.h"

enum { JSON_TIME_ROOM = 40 }; /* 2006-01-02T15:04:05.999999999+07:00 takes 35 */

/* Both write the time at p, which has JSON_TIME_ROOM, without quotes and
 * return the end; NULL: no time that RFC 3339 can show, p may be scribbled on. */

/* Seconds since 1970, or milliseconds if |value| > 1e12. */
uint8_t *json_time_put_integer(uint8_t *p, int64_t value);
/* YYYY-MM-DD, with HH:MM, with HH:MM:SS[.f], with ±HH:MM; ' ' or 'T' between. */
uint8_t *json_time_put_text(uint8_t *p, rq_bytes text);

#endif
