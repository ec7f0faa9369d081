#include "core/percent.h"

#include <string.h>

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

bool percent_decode(char *text, size_t *size, bool plus_is_blank, size_t *ret_bad) {
        size_t n = *size, first = n;
        for (size_t i = 0; i < n; i++) {
                if (text[i] == '+' && plus_is_blank && first == n)
                        first = i;
                if (text[i] != '%')
                        continue;
                if (first == n)
                        first = i;
                if (n - i < 3 || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0) {
                        if (ret_bad != NULL)
                                *ret_bad = i;
                        return false;
                }
                i += 2;
        }

        size_t out = first; /* nothing before it changes */
        for (size_t i = first; i < n; i++) {
                if (text[i] == '%') {
                        text[out++] = (char) (hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
                        i += 2;
                } else {
                        text[out++] = text[i] == '+' && plus_is_blank ? ' ' : text[i];
                }
        }
        *size = out;
        return true;
}
