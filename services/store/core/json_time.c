#include "core/json_time.h"

typedef struct moment {
        unsigned year, month, day, hour, minute, second, nanosecond;
        int offset_minutes;
} moment;

static uint8_t *put_number(uint8_t *p, unsigned value, unsigned digits) {
        for (unsigned i = digits; i-- > 0; value /= 10)
                p[i] = (uint8_t) ('0' + value % 10);
        return p + digits;
}

static uint8_t *put_moment(uint8_t *p, const moment *m) {
        p = put_number(p, m->year, 4);
        *p++ = '-';
        p = put_number(p, m->month, 2);
        *p++ = '-';
        p = put_number(p, m->day, 2);
        *p++ = 'T';
        p = put_number(p, m->hour, 2);
        *p++ = ':';
        p = put_number(p, m->minute, 2);
        *p++ = ':';
        p = put_number(p, m->second, 2);
        if (m->nanosecond > 0) {
                *p++ = '.';
                p = put_number(p, m->nanosecond, 9);
                while (p[-1] == '0')
                        p--;
        }
        if (m->offset_minutes == 0) {
                *p++ = 'Z';
                return p;
        }
        unsigned offset = (unsigned) (m->offset_minutes < 0 ? -m->offset_minutes : m->offset_minutes);
        *p++ = m->offset_minutes < 0 ? '-' : '+';
        p = put_number(p, offset / 60, 2);
        *p++ = ':';
        return put_number(p, offset % 60, 2);
}

/* The proleptic Gregorian calendar, counted in eras of 400 years that begin on
 * 1 March, so that the leap day is the last of its year. */
static void moment_set_date(moment *m, int64_t days_since_1970) {
        int64_t days = days_since_1970 + 719468; /* since 0000-03-01; >= -60 here */
        int64_t era = (days >= 0 ? days : days - 146096) / 146097;
        unsigned day_of_era = (unsigned) (days - era * 146097);
        unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        unsigned month_from_march = (5 * day_of_year + 2) / 153;
        m->day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        m->month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
        m->year = (unsigned) ((int64_t) year_of_era + era * 400 + (m->month <= 2));
}

uint8_t *json_time_put_integer(uint8_t *p, int64_t value) {
        const int64_t first = -62167219200;  /* 0000-01-01T00:00:00Z */
        const int64_t behind = 253402300800; /* 10000-01-01T00:00:00Z */
        moment m = {0};
        int64_t seconds = value;

        if (value > 1000000000000 || value < -1000000000000) {
                seconds = value / 1000;
                int64_t rest = value % 1000;
                if (rest < 0) {
                        rest += 1000;
                        seconds--;
                }
                m.nanosecond = (unsigned) rest * 1000000;
        }
        if (seconds < first || seconds >= behind)
                return NULL;

        int64_t days = seconds / 86400;
        int64_t second_of_day = seconds % 86400;
        if (second_of_day < 0) {
                second_of_day += 86400;
                days--;
        }
        moment_set_date(&m, days);
        m.hour = (unsigned) second_of_day / 3600;
        m.minute = (unsigned) second_of_day / 60 % 60;
        m.second = (unsigned) second_of_day % 60;
        return put_moment(p, &m);
}

static bool is_digit(rq_bytes text, size_t i) {
        return i < text.size && text.data[i] >= '0' && text.data[i] <= '9';
}

static void skip(rq_bytes *text, size_t count) {
        text->data += count;
        text->size -= count;
}

static bool take(rq_bytes *text, char c) {
        if (text->size == 0 || text->data[0] != (uint8_t) c)
                return false;
        skip(text, 1);
        return true;
}

static bool take_number(rq_bytes *text, unsigned digits, unsigned *ret) {
        unsigned value = 0;
        for (unsigned i = 0; i < digits; i++) {
                if (!is_digit(*text, i))
                        return false;
                value = value * 10 + (unsigned) (text->data[i] - '0');
        }
        skip(text, digits);
        *ret = value;
        return true;
}

static unsigned days_of_month(unsigned year, unsigned month) {
        static const uint8_t days[13] = { 0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        return month == 2 && leap ? 29 : days[month];
}

static bool take_date(rq_bytes *text, moment *m) {
        return take_number(text, 4, &m->year) && take(text, '-') &&
               take_number(text, 2, &m->month) && take(text, '-') &&
               take_number(text, 2, &m->day) && m->month >= 1 && m->month <= 12 && m->day >= 1 &&
               m->day <= days_of_month(m->year, m->month);
}

/* Go's parser takes a comma for the point, any number of digits, and drops those behind the ninth. */
static void take_fraction(rq_bytes *text, moment *m) {
        if (text->size < 2 || (text->data[0] != '.' && text->data[0] != ',') || !is_digit(*text, 1))
                return;
        skip(text, 1);
        unsigned value = 0, digits = 0;
        for (; is_digit(*text, 0); skip(text, 1)) {
                if (digits == 9)
                        continue;
                value = value * 10 + (unsigned) (text->data[0] - '0');
                digits++;
        }
        for (; digits < 9; digits++)
                value *= 10;
        m->nanosecond = value;
}

/* ±HH:MM. Go's parser lets 24 hours and 60 minutes pass, its writer no whole day. */
static bool take_offset(rq_bytes *text, moment *m) {
        bool negative = take(text, '-');
        unsigned hours, minutes;
        if (!negative && !take(text, '+'))
                return false;
        if (!take_number(text, 2, &hours) || !take(text, ':') || !take_number(text, 2, &minutes))
                return false;
        if (minutes > 60 || hours * 60 + minutes >= 24 * 60)
                return false;
        m->offset_minutes = (int) (hours * 60 + minutes);
        if (negative)
                m->offset_minutes = -m->offset_minutes;
        return true;
}

uint8_t *json_time_put_text(uint8_t *p, rq_bytes text) {
        moment m = {0};

        if (text.size > 0 && text.data[text.size - 1] == 'Z')
                text.size--;
        if (!take_date(&text, &m))
                return NULL;
        if (text.size == 0)
                return put_moment(p, &m);

        if (take(&text, ' ')) {
                while (take(&text, ' '))
                        ; /* for Go's parser a blank is any number of them */
        } else if (!take(&text, 'T')) {
                return NULL;
        }
        /* The hour alone may have one digit. */
        if (!take_number(&text, is_digit(text, 1) ? 2 : 1, &m.hour) || m.hour > 23)
                return NULL;
        if (!take(&text, ':') || !take_number(&text, 2, &m.minute) || m.minute > 59)
                return NULL;
        if (text.size == 0)
                return put_moment(p, &m);

        if (!take(&text, ':') || !take_number(&text, 2, &m.second) || m.second > 59)
                return NULL;
        take_fraction(&text, &m);
        if (text.size > 0 && !take_offset(&text, &m))
                return NULL;
        return text.size == 0 ? put_moment(p, &m) : NULL;
}
