/* What jansson and yajl make of the bodies that the HTTP contract is particular about.
 *
 *   gcc -O2 -std=gnu17 -Wall json_correctness.c -o json_correctness -ljansson -lyajl
 *   ./json_correctness
 *
 * Prints the decoded values; numbers as the text that the library hands over (yajl) or as it converted them (jansson);
 * bytes outside printable ASCII as \xNN. "guarded" is yajl with the two guards of record 0003: a streaming filter in front that
 * rewrites unpaired \u surrogates to \uFFFD, and a UTF-8 sanitiser on decoded strings. It is fed byte by byte, the
 * worst case for a streaming parser. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

/* ---- guard 1: unpaired surrogate escapes become \uFFFD. Holds back at most 11 bytes between calls. ---- */

struct filter {
	char held[16]; /* an escape in progress: \uXXXX or \uXXXX\uXXXX */
	size_t length;
	void (*emit)(void *, const char *, size_t);
	void *to;
};

static unsigned unit(const char *escape) { return (unsigned)strtoul((char[]){escape[2], escape[3], escape[4], escape[5], 0}, NULL, 16); }
static bool is_high(unsigned u) { return u >= 0xD800 && u < 0xDC00; }
static bool is_low(unsigned u) { return u >= 0xDC00 && u < 0xE000; }

/* Does h[0..n) still look like a \u escape? Backslash, u, hex digits. */
static bool escape_prefix(const char *h, size_t n) {
	return h[0] == '\\' && (n < 2 || h[1] == 'u') && (n < 3 || strspn(h + 2, "0123456789abcdefABCDEF") >= n - 2);
}

static void filter_byte(struct filter *f, char byte) {
	f->held[f->length++] = byte;
	f->held[f->length] = 0;
	for (;;) {
		if (f->length == 0)
			return;
		if (f->length <= 6) {
			if (!escape_prefix(f->held, f->length)) { /* plain bytes, or \n and the like (so \\ud800 stays as it is) */
				f->emit(f->to, f->held, f->length);
				f->length = 0;
				return;
			}
			if (f->length < 6)
				return;
			if (is_high(unit(f->held)))
				return; /* what follows decides */
			f->emit(f->to, is_low(unit(f->held)) ? "\\uFFFD" : f->held, 6);
			f->length = 0;
			return;
		}
		if (escape_prefix(f->held + 6, f->length - 6)) {
			if (f->length < 12)
				return;
			if (is_low(unit(f->held + 6))) {
				f->emit(f->to, f->held, 12);
				f->length = 0;
				return;
			}
		}
		f->emit(f->to, "\\uFFFD", 6); /* unpaired: drop it, and look at the rest anew */
		memmove(f->held, f->held + 6, f->length -= 6);
		f->held[f->length] = 0;
	}
}

/* ---- guard 2: each byte that is not part of valid UTF-8 becomes U+FFFD ---- */

static size_t sequence(const unsigned char *s, size_t n) {
	size_t more = *s < 0x80 ? 0 : *s >= 0xC2 && *s < 0xE0 ? 1 : (*s & 0xF0) == 0xE0 ? 2 : *s >= 0xF0 && *s < 0xF5 ? 3 : 9;
	if (more >= n)
		return 0;
	for (size_t i = 1; i <= more; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	if ((*s == 0xE0 && s[1] < 0xA0) || (*s == 0xED && s[1] > 0x9F) || (*s == 0xF0 && s[1] < 0x90) || (*s == 0xF4 && s[1] > 0x8F))
		return 0;
	return more + 1;
}

/* ---- printing ---- */

static char text[512];
static size_t values;

static void say(const char *what, const char *s, size_t n) {
	if (values++)
		strcat(text, " ");
	strcat(text, what);
	for (size_t i = 0; i < n && strlen(text) < 400; i++)
		sprintf(text + strlen(text), s[i] >= ' ' && s[i] < 127 ? "%c" : "\\x%02X", (unsigned char)s[i]);
}

static void walk(json_t *j) {
	json_t *value;
	const char *key;
	char number[64];
	if (json_is_array(j))
		for (size_t i = 0; i < json_array_size(j); i++)
			walk(json_array_get(j, i));
	else if (json_is_object(j))
		json_object_foreach(j, key, value) say("key:", key, strlen(key)), walk(value);
	else if (json_is_string(j))
		say("s:", json_string_value(j), json_string_length(j));
	else {
		if (json_is_integer(j))
			snprintf(number, sizeof number, "%lld", json_integer_value(j));
		else
			snprintf(number, sizeof number, "%.17g", json_real_value(j));
		say(json_is_integer(j) ? "int:" : "real:", number, strlen(number));
	}
}

static bool guarded;
static int depth, deepest;

static int on_string(void *c, const unsigned char *s, size_t n) {
	char clean[256];
	size_t out = 0;
	(void)c;
	for (size_t i = 0, step; i < n && out < 250; i += step ? step : 1) {
		step = guarded ? sequence(s + i, n - i) : 1;
		memcpy(clean + out, step ? (const char *)s + i : "\xEF\xBF\xBD", step ? step : 3);
		out += step ? step : 3;
	}
	say("s:", clean, out);
	return 1;
}

static int on_number(void *c, const char *s, size_t n) { return (void)c, say("number:", s, n), 1; }
static int on_open(void *c) { return (void)c, deepest = ++depth > deepest ? depth : deepest, 1; }
static int on_close(void *c) { return (void)c, depth--, 1; }

static bool good;

static void feed(void *parser, const char *s, size_t n) {
	if (good)
		good = yajl_parse(parser, (const unsigned char *)s, n) == yajl_status_ok;
}

static void yajl_case(const char *name, const char *body, size_t length, bool validate, bool guards) {
	static const yajl_callbacks callbacks = {.yajl_number = on_number, .yajl_string = on_string, .yajl_map_key = on_string,
	                                         .yajl_start_array = on_open, .yajl_end_array = on_close};
	yajl_handle parser = yajl_alloc(&callbacks, NULL, NULL);
	yajl_config(parser, yajl_dont_validate_strings, !validate);
	yajl_config(parser, yajl_allow_trailing_garbage, 1);
	struct filter filter = {.emit = feed, .to = parser};
	text[0] = 0, values = 0, depth = deepest = 0, good = true, guarded = guards;
	if (guards) {
		for (size_t i = 0; i < length; i++)
			filter_byte(&filter, body[i]);
		feed(parser, filter.held, filter.length);
	} else
		feed(parser, body, length);
	good = good && yajl_complete_parse(parser) == yajl_status_ok;
	printf("  %-14s %s %s", name, good ? "ok" : "REFUSED", good ? text : "");
	printf(deepest > 100 ? " (depth %d)\n" : "\n", deepest);
	yajl_free(parser);
}

static void try(const char *title, const char *body, size_t length) {
	json_error_t error;
	printf("%s: %.*s\n", title, (int)(length < 60 ? length : 60), body);
	json_t *root = json_loadb(body, length, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &error);
	text[0] = 0, values = 0;
	if (root)
		walk(root);
	printf("  %-14s %s %s\n", "jansson", root ? "ok" : "REFUSED:", root ? text : error.text);
	json_decref(root);
	yajl_case("yajl", body, length, true, false);
	yajl_case("yajl, no check", body, length, false, false);
	yajl_case("guarded", body, length, false, true);
}

int main(void) {
	static char deep[200001];
	static const char *const cases[][2] = {
	    {"int64 max", "[9223372036854775807]"}, {"above int64", "[9223372036854775808]"}, {"1e400", "[1e400]"}, {"1.0 and -0", "[1.0,-0]"},
	    {"leading zero", "[01]"}, {"invalid UTF-8", "[\"a\xFF" "b\"]"}, {"surrogate in UTF-8", "[\"\xED\xA0\x80\"]"}, {"overlong", "[\"\xC0\x80\"]"},
	    {"lone high", "[\"\\ud800\"]"}, {"lone high, text", "[\"\\ud800x\"]"}, {"lone low", "[\"\\udc00x\"]"}, {"high, other escape", "[\"\\ud800\\u0041\"]"},
	    {"high, newline", "[\"\\ud800\\n\"]"}, {"high, high, low", "[\"\\ud800\\ud83d\\ude00\"]"}, {"pair", "[\"\\ud83d\\ude00\"]"},
	    {"escaped backslash", "[\"\\\\ud800\"]"}, {"bad hex", "[\"\\ud8zz\"]"}, {"NUL in string", "[\"a\\u0000b\"]"}, {"raw tab", "[\"a\tb\"]"},
	    {"trailing text", "[\"S\"] garbage"}, {"trailing bracket", "[\"S\"]]"}, {"truncated", "[\"S\""}, {"trailing comma", "[\"S\",]"}, {"no comma", "[\"A\" \"B\"]"},
	    {"same key twice", "[{\"n\":1,\"n\":2}]"}, {"comment", "[\"S\" /* c */]"}, {"byte order mark", "\xEF\xBB\xBF[\"S\"]"}, {"empty", ""}, {"bare word", "SELECT 1"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		try(cases[i][0], cases[i][1], strlen(cases[i][1]));
	memset(deep, '[', 100000);
	memset(deep + 100000, ']', 100000);
	try("depth 2000", deep + 98000, 4000);
	try("depth 100000", deep, 200000);
}
