#include "core/chunk_check.h"

static int hex_digit(uint8_t byte) {
        if (byte >= '0' && byte <= '9')
                return byte - '0';
        byte |= 0x20;
        return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static chunk_check_state after_size(chunk_check *c, uint8_t byte) {
        const int digit = hex_digit(byte);
        if (digit >= 0) {
                if (c->left >> 60 != 0)
                        return CHUNK_BAD;
                c->left = c->left << 4 | (uint64_t) digit;
                return CHUNK_SIZE_MORE;
        }
        if (c->state == CHUNK_SIZE)
                return CHUNK_BAD;
        if (byte == '\r')
                return CHUNK_SIZE_LF;
        return byte == ';' || byte == ' ' || byte == '\t' ? CHUNK_EXTENSION : CHUNK_BAD;
}

/* In a line: its end, or more of it; neither a bare line feed nor a NUL. */
static chunk_check_state in_line(uint8_t byte, chunk_check_state same, chunk_check_state end) {
        if (byte == '\n' || byte == '\0')
                return CHUNK_BAD;
        return byte == '\r' ? end : same;
}

static chunk_check_state expect(uint8_t byte, uint8_t wanted, chunk_check_state next) { return byte == wanted ? next : CHUNK_BAD; }

static chunk_check_state next_of(chunk_check *c, uint8_t byte) {
        switch (c->state) {
        case CHUNK_HEADER_LF: return expect(byte, '\n', CHUNK_SIZE);
        case CHUNK_SIZE:
        case CHUNK_SIZE_MORE: return after_size(c, byte);
        case CHUNK_EXTENSION: return in_line(byte, CHUNK_EXTENSION, CHUNK_SIZE_LF);
        case CHUNK_SIZE_LF: return expect(byte, '\n', c->left > 0 ? CHUNK_DATA : CHUNK_LINE);
        case CHUNK_DATA_CR: return expect(byte, '\r', CHUNK_DATA_LF);
        case CHUNK_DATA_LF: return expect(byte, '\n', CHUNK_SIZE);
        case CHUNK_LINE: return in_line(byte, CHUNK_TRAILER, CHUNK_LAST_LF);
        case CHUNK_TRAILER: return in_line(byte, CHUNK_TRAILER, CHUNK_TRAILER_LF);
        case CHUNK_TRAILER_LF: return expect(byte, '\n', CHUNK_LINE);
        case CHUNK_LAST_LF: return expect(byte, '\n', CHUNK_ENDED);
        case CHUNK_DATA:
        case CHUNK_ENDED:
        case CHUNK_BAD: break;
        }
        return c->state;
}

size_t chunk_check_take(chunk_check *c, rq_bytes bytes) {
        size_t at = 0;
        while (at < bytes.size && c->state != CHUNK_ENDED && c->state != CHUNK_BAD) {
                if (c->state == CHUNK_DATA) {
                        const size_t taken = bytes.size - at < c->left ? bytes.size - at : (size_t) c->left;
                        at += taken;
                        c->left -= taken;
                        if (c->left == 0)
                                c->state = CHUNK_DATA_CR;
                } else {
                        c->state = next_of(c, bytes.data[at]);
                        at += c->state != CHUNK_BAD;
                }
        }
        return at;
}
