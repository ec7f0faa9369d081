/* Reading a request body: a jansson tree that is walked afterwards against yajl's callbacks.
 *
 *   gcc -O2 -std=gnu17 -Wall json_parse.c -o json_parse -ljansson -lyajl
 *   ./json_parse
 *
 * Both end with every value copied into one flat request buffer (allocated once, not counted). jansson needs the body
 * whole, so a buffer of its size is counted for it. yajl gets it in three ways: in pieces of 16 KiB as the network
 * delivers it ("16 KiB"); whole, with the buffer counted ("whole"); and in pieces that are held back until they are as
 * long as all that was fed before, with that buffer counted ("doubling"). The ways differ in
 * cost because yajl scans a token that is not complete again from its start whenever the next piece comes.
 * "peak" is the heap that the parser asked for at its highest, through the allocators that both libraries let one set. */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <yajl/yajl_parse.h>

enum { PIECE = 16 << 10 };

static size_t held, peak, values, request_length;
static char *request;

static double cpu(void) {
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

/* Allocators that remember the size in front of the block. */
static void *counted_malloc(size_t size) {
	size_t *block = malloc(size + 16);
	*block = size;
	held += size;
	if (held > peak)
		peak = held;
	return (char *)block + 16;
}

static void counted_free(void *p) {
	if (!p)
		return;
	size_t *block = (size_t *)((char *)p - 16);
	held -= *block;
	free(block);
}

static void *yajl_malloc_counted(void *ctx, size_t size) {
	(void)ctx;
	return counted_malloc(size);
}

static void yajl_free_counted(void *ctx, void *p) {
	(void)ctx;
	counted_free(p);
}

static void *yajl_realloc_counted(void *ctx, void *p, size_t size) {
	(void)ctx;
	if (!p)
		return counted_malloc(size);
	size_t *block = (size_t *)((char *)p - 16), old = *block;
	block = realloc(block, size + 16); /* in place where malloc can: not counted as two blocks */
	*block = size;
	held += size - old;
	if (held > peak)
		peak = held;
	return (char *)block + 16;
}

static void put(const void *data, size_t length) {
	memcpy(request + request_length, data, length);
	request_length += length;
	values++;
}

/* ---- jansson ---- */

static void walk(json_t *node) {
	switch (json_typeof(node)) {
	case JSON_ARRAY:
		for (size_t i = 0; i < json_array_size(node); i++)
			walk(json_array_get(node, i));
		break;
	case JSON_STRING:
		put(json_string_value(node), json_string_length(node));
		break;
	case JSON_INTEGER: {
		json_int_t value = json_integer_value(node);
		put(&value, sizeof value);
		break;
	}
	case JSON_REAL: {
		double value = json_real_value(node);
		put(&value, sizeof value);
		break;
	}
	default:
		put("", 0);
	}
}

static void with_jansson(const char *body, size_t length) {
	json_error_t error;
	char *whole = counted_malloc(length); /* the body as the network left it */
	memcpy(whole, body, length);
	json_t *root = json_loadb(whole, length, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &error);
	if (!root)
		abort();
	walk(root);
	json_decref(root);
	counted_free(whole);
}

/* ---- yajl ---- */

static int on_string(void *ctx, const unsigned char *s, size_t length) {
	(void)ctx;
	put(s, length);
	return 1;
}

static int on_number(void *ctx, const char *s, size_t length) {
	char text[64];
	(void)ctx;
	memcpy(text, s, length < 63 ? length : 63);
	text[length < 63 ? length : 63] = 0;
	if (strpbrk(text, ".eE")) {
		double value = strtod(text, NULL);
		put(&value, sizeof value);
	} else {
		int64_t value = strtoll(text, NULL, 10);
		put(&value, sizeof value);
	}
	return 1;
}

static int on_null(void *ctx) {
	(void)ctx;
	put("", 0);
	return 1;
}

static int on_boolean(void *ctx, int value) {
	(void)value;
	return on_null(ctx);
}

static int on_bracket(void *ctx) {
	(void)ctx;
	return 1;
}

enum pieces { SMALL, WHOLE, DOUBLING };

static void with_yajl(const char *body, size_t length, enum pieces pieces) {
	static const yajl_callbacks callbacks = {.yajl_null = on_null, .yajl_boolean = on_boolean, .yajl_number = on_number, .yajl_string = on_string,
	                                         .yajl_start_array = on_bracket, .yajl_end_array = on_bracket};
	static yajl_alloc_funcs allocators = {yajl_malloc_counted, yajl_realloc_counted, yajl_free_counted, NULL};
	yajl_handle parser = yajl_alloc(&callbacks, &allocators, NULL);
	yajl_config(parser, yajl_dont_validate_strings, 1);
	yajl_config(parser, yajl_allow_trailing_garbage, 1);
	for (size_t at = 0, piece; at < length; at += piece) {
		void *collected = NULL;
		piece = pieces == WHOLE ? length : pieces == DOUBLING && at > PIECE ? at : PIECE;
		piece = piece < length - at ? piece : length - at;
		if (pieces != SMALL) {
			collected = counted_malloc(piece);
			memcpy(collected, body + at, piece);
		}
		if (yajl_parse(parser, (const unsigned char *)(collected ? collected : body + at), piece) != yajl_status_ok)
			abort();
		counted_free(collected);
	}
	if (yajl_complete_parse(parser) != yajl_status_ok)
		abort();
	yajl_free(parser);
}

static void yajl_small(const char *body, size_t length) { with_yajl(body, length, SMALL); }
static void yajl_whole(const char *body, size_t length) { with_yajl(body, length, WHOLE); }
static void yajl_doubling(const char *body, size_t length) { with_yajl(body, length, DOUBLING); }

static void measure(const char *name, const char *body, size_t length, void (*parse)(const char *, size_t), const char *by) {
	size_t rounds = 0;
	double start = cpu(), used;
	peak = held = 0;
	do {
		request_length = values = 0;
		parse(body, length);
		rounds++;
	} while ((used = cpu() - start) < 0.7);
	printf("%-16s %9zu B  %-14s %11.0f ns per body  %7.2f ns per byte  peak %9zu B  (%zu values, %zu B kept)\n", name, length, by,
	       used / rounds * 1e9, used / rounds * 1e9 / length, peak, values, request_length);
}

int main(void) {
	static const char one[] = "[\"INSERT INTO foo(name,age) VALUES(?,?)\",\"fiona\",20]";
	size_t big = 20 << 20;
	char *bodies[3] = {malloc(256), malloc(16 << 10), malloc(big + 256)};
	const char *names[3] = {"1 statement", "100 statements", "20 MiB string"};
	request = malloc(big + 4096);
	memset(request, 0, big + 4096);
	sprintf(bodies[0], "[%s]", one);
	strcpy(bodies[1], "[");
	for (int i = 0; i < 100; i++)
		strcat(strcat(bodies[1], one), i < 99 ? "," : "]");
	size_t at = (size_t)sprintf(bodies[2], "[[\"INSERT INTO foo(name) VALUES(?)\",\"");
	for (size_t i = 0; i < big; i++)
		bodies[2][at + i] = (char)('a' + i % 26);
	strcpy(bodies[2] + at + big, "\"]]");
	json_set_alloc_funcs(counted_malloc, counted_free);
	for (int i = 0; i < 3; i++) {
		measure(names[i], bodies[i], strlen(bodies[i]), with_jansson, "jansson");
		measure(names[i], bodies[i], strlen(bodies[i]), yajl_small, "yajl, 16 KiB");
		measure(names[i], bodies[i], strlen(bodies[i]), yajl_whole, "yajl, whole");
		measure(names[i], bodies[i], strlen(bodies[i]), yajl_doubling, "yajl, doubling");
	}
}
