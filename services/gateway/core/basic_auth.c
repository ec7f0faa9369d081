#include "core/basic_auth.h"

#include <strings.h>

static int digit_of(uint8_t c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, with or without the '=' at the end. */
static bool decode_base64(rq_bytes in, uint8_t *out, size_t room, size_t *ret_size) {
        size_t size = 0;
        uint32_t bits = 0;
        int have = 0;
        for (int padding = 0; padding < 2 && in.size > 0 && in.data[in.size - 1] == '='; padding++)
                in.size--;
        if (in.size % 4 == 1)
                return false;
        for (size_t i = 0; i < in.size; i++) {
                int digit = digit_of(in.data[i]);
                if (digit < 0)
                        return false;
                bits = bits << 6 | (uint32_t) digit;
                have += 6;
                if (have < 8)
                        continue;
                have -= 8;
                if (size == room)
                        return false;
                out[size++] = (uint8_t) (bits >> have);
        }
        *ret_size = size;
        return true;
}

bool basic_auth_parse(rq_bytes header, basic_auth *ret_auth) {
        size_t size;
        if (header.size < 6 || strncasecmp((const char *) header.data, "Basic ", 6) != 0)
                return false;
        header = rq_bytes_of(header.data + 6, header.size - 6);
        while (header.size > 0 && header.data[0] == ' ')
                header = rq_bytes_of(header.data + 1, header.size - 1);
        while (header.size > 0 && header.data[header.size - 1] == ' ')
                header.size--;
        if (!decode_base64(header, ret_auth->text, sizeof ret_auth->text, &size))
                return false;
        const uint8_t *colon = memchr(ret_auth->text, ':', size);
        if (colon == NULL)
                return false;
        ret_auth->user = rq_bytes_of(ret_auth->text, (size_t) (colon - ret_auth->text));
        ret_auth->password = rq_bytes_of(colon + 1, size - ret_auth->user.size - 1);
        return true;
}
