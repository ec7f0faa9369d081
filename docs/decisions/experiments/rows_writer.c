/* JSON rows: an own writer into one bounded chunk against building a jansson tree and dumping it. And what the text of a
 * double costs by several ways to its shortest digits.
 *
 *   gcc -O2 -std=gnu17 -Wall rows_writer.c -o rows_writer -ljansson -lstdc++ -lm
 *   ./rows_writer
 *
 * Rows: 10,000 of (integer, text of 20 characters, real with 2 decimals). Both hand their bytes to a sink that counts.
 * Doubles, ways: "%.17g" (correct, not shortest); "15,16,17" (print with rising precision until strtod gives the
 * number back); "scaled" (is x = m / 10^k for a whole m < 10^15 and a small k? Then these are the digits, since both are
 * exact doubles and the division rounds correctly; otherwise 15,16,17); Ryu (std::to_chars of libstdc++, called here by
 * its symbol, as the reference only). At the end "scaled" is compared with Ryu on 3 million doubles. */
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct to_chars_result { char *end; int error; };
struct to_chars_result to_chars_shortest(char *, char *, double) __asm__("_ZSt8to_charsPcS_d");
struct to_chars_result to_chars_format(char *, char *, double, int) __asm__("_ZSt8to_charsPcS_dSt12chars_format");

enum { ROWS = 10000, CHUNK = 64 << 10 };

static size_t held, peak, sent;
static volatile size_t sink;

static double cpu(void) {
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

/* ---- doubles: each writes text to out and returns its length ---- */

static int print_17(char *out, double x) { return snprintf(out, 32, "%.17g", x); }

static int print_rising(char *out, double x) {
	int n = 0;
	/* 15 digits always tell normal numbers that were written with up to 15 apart; subnormal ones have fewer */
	for (int precision = fabs(x) < 2.2250738585072014e-308 ? 1 : 15; precision <= 17; precision++) {
		n = snprintf(out, 32, "%.*g", precision, x);
		if (strtod(out, NULL) == x)
			break;
	}
	return n;
}

static int print_integer(char *out, int64_t value) {
	char digits[20];
	int n = 0, length = 0;
	uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
	if (value < 0)
		out[length++] = '-';
	do
		digits[n++] = (char)('0' + rest % 10);
	while (rest /= 10);
	while (n)
		out[length++] = digits[--n];
	return length;
}

static int print_scaled(char *out, double x) {
	static const double power[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8};
	double size = fabs(x);
	if (!(size < 1e15 && size >= 1e-6) && x != 0)
		return print_rising(out, x);
	if (x == 0)
		return signbit(x) ? (memcpy(out, "-0", 2), 2) : (*out = '0', 1);
	for (int k = 0; k <= 8; k++) {
		double scaled = size * power[k];
		if (scaled >= 1e15)
			break;
		int64_t whole = (int64_t)(scaled + 0.5);
		if ((double)whole / power[k] != size)
			continue;
		int length = 0;
		if (x < 0)
			out[length++] = '-';
		length += print_integer(out + length, whole / (int64_t)power[k]);
		if (k) {
			int64_t part = whole % (int64_t)power[k];
			out[length++] = '.';
			for (int i = k - 1; i >= 0; i--, part /= 10)
				out[length + i] = (char)('0' + part % 10);
			length += k;
		}
		return length;
	}
	return print_rising(out, x);
}

static int print_ryu(char *out, double x) { return (int)(to_chars_shortest(out, out + 32, x).end - out); }

/* ---- own row writer ---- */

static char *chunk;
static size_t used;

static void flush_chunk(void) { sent += used, used = 0; }

static void write_text(const char *s, size_t n) {
	chunk[used++] = '"';
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c < ' ') {
			used += (size_t)sprintf(chunk + used, "\\u%04x", c);
			continue;
		}
		if (c == '"' || c == '\\')
			chunk[used++] = '\\';
		chunk[used++] = (char)c;
		if (used > CHUNK - 64)
			flush_chunk();
	}
	chunk[used++] = '"';
}

static void rows_own(const char *texts, const double *reals) {
	chunk = malloc(CHUNK);
	peak = CHUNK;
	used = 0;
	chunk[used++] = '[';
	for (int i = 0; i < ROWS; i++) {
		if (used > CHUNK - 256)
			flush_chunk();
		if (i)
			chunk[used++] = ',';
		chunk[used++] = '[';
		used += (size_t)print_integer(chunk + used, i);
		chunk[used++] = ',';
		write_text(texts + i * 20, 20);
		chunk[used++] = ',';
		used += (size_t)print_scaled(chunk + used, reals[i]);
		chunk[used++] = ']';
	}
	chunk[used++] = ']';
	flush_chunk();
	free(chunk);
}

/* ---- jansson ---- */

static void *counted_malloc(size_t size) {
	size_t *block = malloc(size + 16);
	*block = size;
	held += size;
	if (held > peak)
		peak = held;
	return (char *)block + 16;
}

static void counted_free(void *p) {
	held -= p ? *(size_t *)((char *)p - 16) : 0;
	free(p ? (char *)p - 16 : NULL);
}

static int count_bytes(const char *s, size_t n, void *arg) { return (void)s, (void)arg, sent += n, 0; }

static void rows_jansson(const char *texts, const double *reals) {
	json_t *rows = json_array();
	for (int i = 0; i < ROWS; i++)
		json_array_append_new(rows, json_pack("[i,s#,f]", i, texts + i * 20, 20, reals[i]));
	json_dump_callback(rows, count_bytes, NULL, JSON_COMPACT);
	json_decref(rows);
}

static void measure_rows(const char *name, void (*write)(const char *, const double *), const char *texts, const double *reals) {
	double start = cpu(), took;
	int rounds = 0;
	held = peak = sent = 0;
	do {
		write(texts, reals);
		rounds++;
	} while ((took = cpu() - start) < 0.7);
	printf("rows  %-8s %8.0f ns per row  peak heap %8zu B  %zu B per row out\n", name, took / rounds / ROWS * 1e9, peak, sent / rounds / ROWS);
}

static uint64_t random_bits(void) {
	static uint64_t s = 88172645463325252u;
	s ^= s << 13, s ^= s >> 7, s ^= s << 17;
	return s;
}

static double example(int kind, int i) {
	double x;
	uint64_t bits = random_bits();
	switch (kind) {
	case 0: return (double)(int)(bits % 2000000) - 1000000;
	case 1: return (double)(int64_t)(bits % 10000000) / 100;
	case 2: return (double)(int64_t)(200000 + bits % 100000) / 10000;
	case 3: return (double)(bits >> 11) / 9007199254740992.0;
	case 4: return 1.0 / (i + 3);
	}
	memcpy(&x, &bits, 8);
	return isfinite(x) ? x : 1e300;
}

int main(void) {
	static char texts[ROWS * 20], out[64], reference[64];
	static double values[ROWS];
	static const char *const kinds[] = {"whole numbers", "2 decimals", "4 decimals", "random in 0..1", "1/n", "random bits"};
	static const struct { const char *name; int (*print)(char *, double); } ways[] = {
	    {"%.17g", print_17}, {"15,16,17", print_rising}, {"scaled", print_scaled}, {"Ryu", print_ryu}};
	for (int i = 0; i < ROWS * 20; i++)
		texts[i] = (char)('a' + random_bits() % 26);
	for (int i = 0; i < ROWS; i++)
		values[i] = example(1, i);
	json_set_alloc_funcs(counted_malloc, counted_free);
	measure_rows("own", rows_own, texts, values);
	measure_rows("jansson", rows_jansson, texts, values);
	for (int kind = 0; kind < 6; kind++) {
		printf("%-15s", kinds[kind]);
		for (int i = 0; i < ROWS; i++)
			values[i] = example(kind, i);
		for (size_t w = 0; w < 4; w++) {
			double start = cpu(), took;
			int rounds = 0;
			do {
				for (int i = 0; i < ROWS; i++)
					sink += (size_t)ways[w].print(out, values[i]);
				rounds++;
			} while ((took = cpu() - start) < 0.2);
			printf("  %s %5.0f ns", ways[w].name, took / rounds / ROWS * 1e9);
		}
		printf("\n");
	}
	long wrong = 0, longer = 0, powers = 0;
	for (int i = 0; i < 3000000; i++) {
		double x = i < 4000 ? ldexp(1, i / 2 - 1074 < 1023 ? i / 2 - 1074 : 0) : example(i % 6, i);
		out[print_scaled(out, x)] = 0;
		*to_chars_format(reference, reference + 64, x, 1).end = 0; /* scientific */
		wrong += strtod(out, NULL) != x;
		int own = 0, ryu = 0; /* significant digits, without zeros at either end */
		for (const char *s = out + strspn(out, "-0."), *z = s; *s && *s != 'e'; s++)
			if (*s != '.' && ++z && *s != '0')
				own = (int)(z - (out + strspn(out, "-0.")));
		for (const char *s = reference + (*reference == '-'); *s && *s != 'e'; s++)
			ryu += *s != '.';
		int exponent;
		longer += own > ryu;
		powers += own > ryu && frexp(fabs(x), &exponent) == 0.5;
	}
	printf("compared with Ryu on 3000000 doubles: %ld do not read back, %ld have one digit too many (powers of two: %ld)\n", wrong, longer, powers);
}
