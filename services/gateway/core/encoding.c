#include "core/encoding.h"

#include <strings.h>

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

static rq_bytes trim(rq_bytes text) {
        while (text.size > 0 && is_blank(text.data[0]))
                text = rq_bytes_of(text.data + 1, text.size - 1);
        while (text.size > 0 && is_blank(text.data[text.size - 1]))
                text.size--;
        return text;
}

static bool is_word(rq_bytes text, const char *word) {
        return text.size == strlen(word) && strncasecmp((const char *) text.data, word, text.size) == 0;
}

/* What stands before the mark; *rest is what follows it. */
static rq_bytes cut(rq_bytes *rest, char mark) {
        const uint8_t *end = rest->size > 0 ? memchr(rest->data, mark, rest->size) : NULL;
        rq_bytes first = rq_bytes_of(rest->data, end != NULL ? (size_t) (end - rest->data) : rest->size);
        size_t used = first.size + (end != NULL);
        *rest = rq_bytes_of(rest->data + used, rest->size - used);
        return trim(first);
}

body_encoding body_encoding_of(rq_bytes value) {
        value = trim(value);
        if (value.size == 0 || is_word(value, "identity"))
                return BODY_AS_IT_IS;
        return is_word(value, "gzip") || is_word(value, "x-gzip") ? BODY_GZIP : BODY_UNKNOWN;
}

/* "q=0", "q=0.", "q=0.000" */
static bool is_zero(rq_bytes weight) {
        if (weight.size < 3 || (weight.data[0] | 0x20) != 'q' || weight.data[1] != '=')
                return false;
        for (size_t i = 2; i < weight.size; i++)
                if (weight.data[i] != '0' && weight.data[i] != '.')
                        return false;
        return true;
}

bool accepts_gzip(rq_bytes value) {
        bool any = false;
        while (value.size > 0) {
                rq_bytes item = cut(&value, ',');
                rq_bytes name = cut(&item, ';');
                bool wanted = !is_zero(trim(item));
                if (is_word(name, "gzip") || is_word(name, "x-gzip"))
                        return wanted; /* what is named counts more than "*" */
                any = any || (is_word(name, "*") && wanted);
        }
        return any;
}
