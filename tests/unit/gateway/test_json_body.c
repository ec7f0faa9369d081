/* Request bodies: every body in one piece, byte by byte, and cut at every
 * place gives the same statements and the same words. What is written is held
 * against the generated protobuf code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "io/json_body.h"
#include "io/json_text.h"
#include "io/statement.h"
#include "log_entry.pb-c.h"
#include "store.pb-c.h"

typedef struct body_case { const char *body, *expected; size_t size; } body_case;

/* size 0: up to the NUL. Expected: "!text" for a 400, else statements as
 * SQL(params): i integer, r real, t text, b blob in hex, n null, name= before. */
#define RAW(text, expected) { text, expected, sizeof text - 1 }
static const body_case cases[] = {
        RAW("", "!invalid JSON body"), RAW("SELECT 1", "!invalid JSON body"), RAW("\xEF\xBB\xBF[\"S\"]", "!invalid JSON body"),
        RAW(" ", "!invalid JSON body"), RAW("[", "!invalid JSON body"), RAW("[\"SELECT 1\"", "!invalid JSON body"),
        RAW("[\"SELECT 1\",", "!invalid JSON body"), RAW("[\"SELECT 1\",]", "!invalid JSON body"), RAW("[\"A\" \"B\"]", "!invalid JSON body"),
        RAW("[[\"SELECT ?\"", "!invalid JSON body"), RAW("[[\"S\",01]]", "!invalid JSON body"), RAW("[[\"S\",000]]", "!invalid JSON body"),
        RAW("[[\"S\",-]]", "!invalid JSON body"), RAW("[\"\\q\"]", "!invalid JSON body"), RAW("[\"a\tb\"]", "!invalid JSON body"),
        RAW("\x1f\x8b\x08\x00", "!invalid JSON body"), RAW("nul", "!invalid JSON body"), RAW("nulx", "!invalid JSON body"),
        RAW("\"abc", "!invalid JSON body"), RAW("[nul", "!invalid JSON body"), RAW("[\"a\" 5", "!invalid JSON body"),
        RAW("[\"S\" /* c */]", "!invalid JSON body"), RAW("[\"\\ud8zz\"]", "!invalid JSON body"), RAW("[\"\\u12\"]", "!invalid JSON body"),
        RAW("[\"\\u12", "!invalid JSON body"), RAW("[\"\\ud800\\u", "!invalid JSON body"),
        /* Wrong in a statement that is no JSON either. */
        RAW("[[\"S\",[\"a\"],", "!invalid JSON body"), RAW("[[\"S\",1e400,", "!invalid JSON body"), RAW("[[1,", "!invalid JSON body"),
        RAW("[[\"S\",[\"a\"],tru]]", "!invalid JSON body"),
        RAW("[]", "!no statements"), RAW("[]x", "!no statements"), RAW(" [ ] ", "!no statements"),
        RAW("{}", "!invalid request"), RAW("{} x", "!invalid request"), RAW("{\"a\"", "!invalid request"), RAW("{]", "!invalid request"),
        RAW("null", "!invalid request"), RAW("\"SELECT 1\"", "!invalid request"), RAW("12", "!invalid request"), RAW("true", "!invalid request"),
        RAW("[1]", "!invalid request"), RAW("[1,", "!invalid request"), RAW("[null]", "!invalid request"), RAW("[true]", "!invalid request"),
        RAW("[{}]", "!invalid request"), RAW("[{\"a\":", "!invalid request"), RAW("[[]]", "!invalid request"), RAW("[[1]]", "!invalid request"),
        RAW("[[null,1]]", "!invalid request"), RAW("[[[1]]]", "!invalid request"), RAW("[[{\"a\":1}]]", "!invalid request"),
        RAW("[\"S\",1]", "!invalid request"), RAW("[[[[[[]]]]]]", "!invalid request"),
        RAW("[[\"S\",{\"a\":{\"b\":1}}]]", "!unsupported type map[string]interface {}"), RAW("[[\"S\",{\"a\":{}}]]", "!unsupported type map[string]interface {}"),
        RAW("[[\"S\",[{}]]]", "!unsupported type map[string]interface {}"), RAW("[[\"S\",[[1]]]]", "!unsupported type []interface {}"),
        RAW("[[\"S\",{\"a\":[[]]}]]", "!unsupported type []interface {}"), RAW("[[\"S\",[\"a\"]]]", "!unsupported type string"),
        RAW("[[\"S\",{\"a\":[\"x\"]}]]", "!unsupported type string"), RAW("[[\"S\",[true]]]", "!unsupported type bool"),
        RAW("[[\"S\",[null]]]", "!unsupported type <nil>"), RAW("[[\"S\",[256]]]", "!unsupported type 256"), RAW("[[\"S\",[-1]]]", "!unsupported type -1"),
        RAW("[[\"S\",[1.5]]]", "!unsupported type 1.5"), RAW("[[\"S\",[1.0]]]", "!unsupported type 1.0"), RAW("[[\"S\",[1e0]]]", "!unsupported type 1e0"),
        RAW("[[\"S\",[1e400]]]", "!unsupported type 1e400"), RAW("[[\"S\",1e400]]", "!invalid number 1e400"), RAW("[[\"S\",-1e400]]", "!invalid number -1e400"),
        RAW("[[\"S\",{\"a\":1e400}]]", "!invalid number 1e400"), RAW("[[\"S\",1e400]", "!invalid number 1e400"),
        RAW("[[\"S\",[\"a\"]],5", "!unsupported type string"), RAW("[[\"S\",[\"a\",256],1e400]]", "!unsupported type string"),
        RAW("[[\"S\",[1234567890123456789012]]]", "!unsupported type 1234567890123456789012"),
        /* Accepted. */
        RAW("[\"SELECT 1\"]", "SELECT 1()"), RAW("[\"SELECT 1\"]]", "SELECT 1()"), RAW("[\"SELECT 1\"] garbage", "SELECT 1()"),
        RAW(" \n[ \"A\" , [ \"B\" ] ] ", "A() B()"), RAW("[\"\"]", "()"), RAW("[\"  \"]", "  ()"), RAW("[\"A\",[\"B\",1],\"C\"]", "A() B(i1) C()"),
        RAW("[[\"S\",0,-0,9007199254740993,9223372036854775807,-9223372036854775808]]",
            "S(i0 i0 i9007199254740993 i9223372036854775807 i-9223372036854775808)"),
        RAW("[[\"S\",9223372036854775808,99999999999999999999]]", "S(r9.22337203685478e+18 r1e+20)"),
        RAW("[[\"S\",1.0,1e3,-0.0,1e-400,2.5]]", "S(r1 r1000 r-0 r0 r2.5)"), RAW("[[\"S\",true,false,null]]", "S(i1 i0 n)"),
        RAW("[[\"S\",\"x'4142'\",\"X'fF'\",\" x'41' \\n\",\"x''\"]]", "S(b4142 bff b41 b)"),
        RAW("[[\"S\",\"x'zz'\",\"x'414'\",\"x'\",\"x\",\"\",\"y'41'\",\"x'41'b\"]]", "S(tx'zz' tx'414' tx' tx t ty'41' tx'41'b)"),
        RAW("[[\"S\",[],[0,255],[65]]]", "S(b b00ff b41)"), RAW("[[\"S\",[-0]]]", "S(b00)"),
        RAW("[[\"S\",{\"n\":1,\"m\":\"x\"},3]]", "S(n=i1 m=tx i3)"), RAW("[[\"S\",{}]]", "S()"), RAW("[[\"S\",{\"a\":[1,2]},{\"b\":null}]]", "S(a=b0102 b=n)"),
        RAW("[[\"S\",{\"n\":1,\"n\":2}]]", "S(n=i2)"), RAW("[[\"S\",5,{\"n\":1,\"m\":7,\"n\":\"abc\",\"o\":8,\"m\":9},6]]", "S(i5 n=tabc o=i8 m=i9 i6)"),
        RAW("[[\"S\",{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"a\":10,\"e\":11}]]",
            "S(b=i2 c=i3 d=i4 f=i6 g=i7 h=i8 i=i9 a=i10 e=i11)"),
        RAW("[[\"S\",{\"\":1}]]", "S(i1)"), RAW("[[\"S\",{\"1a\":1}]]", "S(1a=i1)"),
        /* Strings: escapes, invalid UTF-8, surrogates. */
        RAW("[\"a\\n\\\"\\\\\\/\\u0041\"]", "a\n\"\\/A()"), RAW("[\"a\xFF" "b\"]", "a\xEF\xBF\xBD" "b()"),
        RAW("[\"\xC0\x80\"]", "\xEF\xBF\xBD\xEF\xBF\xBD()"), RAW("[\"\xED\xA0\x80\"]", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD()"),
        RAW("[\"\xE2\x82\xAC\xF0\x9F\x98\x80\"]", "\xE2\x82\xAC\xF0\x9F\x98\x80()"), RAW("[\"\xE2\x82\"]", "\xEF\xBF\xBD\xEF\xBF\xBD()"),
        RAW("[\"\\ud83d\\ude00\"]", "\xF0\x9F\x98\x80()"), RAW("[\"\\ud800\"]", "\xEF\xBF\xBD()"), RAW("[\"\\ud800x\"]", "\xEF\xBF\xBDx()"),
        RAW("[\"\\udc00x\"]", "\xEF\xBF\xBDx()"), RAW("[\"\\ud800\\u0041\"]", "\xEF\xBF\xBD" "A()"), RAW("[\"\\ud800\\n\"]", "\xEF\xBF\xBD\n()"),
        RAW("[\"\\ud800\\ud83d\\ude00\"]", "\xEF\xBF\xBD\xF0\x9F\x98\x80()"), RAW("[\"\\ud800\\ud800\"]", "\xEF\xBF\xBD\xEF\xBF\xBD()"),
        RAW("[\"\\\\ud800\"]", "\\ud800()"), RAW("[\"\\\\\\ud800\"]", "\\\xEF\xBF\xBD()"), RAW("[\"\\uD83D\\uDE00\\uDE00\"]", "\xF0\x9F\x98\x80\xEF\xBF\xBD()"),
        RAW("[[\"S\",{\"\\ud800\":\"\\udfff\"}]]", "S(\xEF\xBF\xBD=t\xEF\xBF\xBD)"),
};


typedef struct outcome { rq_buf run; json_body_result result; } outcome;

static json_body *parser;

static void begin(outcome *o) {
        *o = (outcome) {0};
        assert_int_equal(json_body_begin(parser, &o->run), RQ_OK);
}

/* Each piece in memory of its own, so that a sanitizer sees what is read
 * behind it. */
static void feed(const char *data, size_t size) {
        char *copy = malloc(size > 0 ? size : 1);
        if (size > 0)
                memcpy(copy, data, size);
        assert_int_equal(json_body_feed(parser, rq_bytes_of(copy, size)), RQ_OK);
        memset(copy, 'Z', size);
        free(copy);
}

static void end(outcome *o) { assert_int_equal(json_body_end(parser, &o->result), RQ_OK); }

static void assert_same(const outcome *a, const outcome *b, const char *body) {
        bool same = strcmp(a->result.problem, b->result.problem) == 0;
        if (same && a->result.problem[0] == '\0')
                same = a->result.statement_count == b->result.statement_count && a->result.all_may_be_read == b->result.all_may_be_read &&
                       a->result.refused_pragma == b->result.refused_pragma && rq_bytes_equal(rq_buf_bytes(&a->run), rq_buf_bytes(&b->run));
        if (!same)
                print_error("%s: \"%s\" and \"%s\"\n", body, a->result.problem, b->result.problem);
        assert_true(same);
}

static size_t put_param(char *p, const Rq__Parameter *param) {
        const Rq__Value *v = param->value;
        size_t n = 0;
        if (param->name.len > 0)
                n += (size_t) sprintf(p + n, "%.*s=", (int) param->name.len, (const char *) param->name.data);
        switch (v->kind_case) {
        case RQ__VALUE__KIND_NULL: return n + (size_t) sprintf(p + n, "n");
        case RQ__VALUE__KIND_INTEGER: return n + (size_t) sprintf(p + n, "i%lld", (long long) v->integer);
        case RQ__VALUE__KIND_REAL: return n + (size_t) sprintf(p + n, "r%.15g", v->real);
        case RQ__VALUE__KIND_TEXT: return n + (size_t) sprintf(p + n, "t%.*s", (int) v->text.len, (const char *) v->text.data);
        case RQ__VALUE__KIND_BLOB:
                n += (size_t) sprintf(p + n, "b");
                for (size_t i = 0; i < v->blob.len; i++)
                        n += (size_t) sprintf(p + n, "%02x", v->blob.data[i]);
                return n;
        default: fail(); return 0;
        }
}

static void describe(char *p, Rq__Statement **statements, size_t count) {
        *p = '\0';
        for (size_t i = 0; i < count; i++) {
                p += sprintf(p, "%s%.*s(", i > 0 ? " " : "", (int) statements[i]->sql.len, (const char *) statements[i]->sql.data);
                for (size_t j = 0; j < statements[i]->n_parameters; j++) {
                        if (j > 0)
                                *p++ = ' ';
                        p += put_param(p, statements[i]->parameters[j]);
                }
                p += sprintf(p, ")");
        }
}

/* As a Query and as a SqlEntry; what the generated code packs again must be
 * the same bytes. */
static void assert_decodes(const rq_buf *run, const char *expected) {
        char text[2048];
        uint8_t bytes[8192], again[8192];
        size_t size = statements_size(rq_buf_bytes(run), STATEMENTS_OF_QUERY);
        assert_true(size <= sizeof bytes);
        assert_ptr_equal(statements_copy(bytes, rq_buf_bytes(run), STATEMENTS_OF_QUERY), bytes + size);
        Rq__Query *query = rq__query__unpack(NULL, size, bytes);
        assert_non_null(query);
        describe(text, query->statements, query->n_statements);
        assert_string_equal(text, expected);
        assert_int_equal(rq__query__pack(query, again), size);
        assert_memory_equal(bytes, again, size);
        rq__query__free_unpacked(query, NULL);

        size = statements_size(rq_buf_bytes(run), STATEMENTS_OF_ENTRY);
        assert_ptr_equal(statements_copy(bytes, rq_buf_bytes(run), STATEMENTS_OF_ENTRY), bytes + size);
        Rq__SqlEntry *entry = rq__sql_entry__unpack(NULL, size, bytes);
        assert_non_null(entry);
        describe(text, entry->statements, entry->n_statements);
        assert_string_equal(text, expected);
        assert_int_equal(rq__sql_entry__pack(entry, again), size);
        assert_memory_equal(bytes, again, size);
        rq__sql_entry__free_unpacked(entry, NULL);
}

static void all_cases_however_cut(void **state) {
        (void) state;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                const body_case *c = &cases[i];
                outcome whole, cut;
                size_t size = c->size;
                begin(&whole);
                feed(c->body, size);
                end(&whole);
                if (c->expected[0] == '!') {
                        if (strcmp(whole.result.problem, c->expected + 1) != 0)
                                print_error("%s\n", c->body);
                        assert_string_equal(whole.result.problem, c->expected + 1);
                } else {
                        if (whole.result.problem[0] != '\0')
                                print_error("%s: %s\n", c->body, whole.result.problem);
                        assert_string_equal(whole.result.problem, "");
                        assert_decodes(&whole.run, c->expected);
                }

                begin(&cut);
                for (size_t at = 0; at < size; at++)
                        feed(c->body + at, 1);
                end(&cut);
                assert_same(&whole, &cut, c->body);
                rq_buf_done(&cut.run);

                for (size_t at = 0; at <= size; at++) {
                        begin(&cut);
                        feed(c->body, at);
                        feed(c->body + at, size - at);
                        end(&cut);
                        assert_same(&whole, &cut, c->body);
                        rq_buf_done(&cut.run);
                }
                rq_buf_done(&whole.run);
        }
}

/* Integers take three times the room of their text, and each value far more in
 * the store. */
static void statements_are_bounded(void **state) {
        (void) state;
        enum { PIECE = 1 << 20, PIECES = 40 };
        char *piece = malloc(PIECE);
        outcome o;
        for (size_t i = 0; i < PIECE; i++)
                piece[i] = i % 2 == 0 ? ',' : '1';
        begin(&o);
        feed("[[\"S\",1", 7);
        rq_err r = RQ_OK;
        int fed = 0;
        while (r == RQ_OK && fed++ < PIECES)
                r = json_body_feed(parser, rq_bytes_of(piece, PIECE));
        assert_int_equal(r, RQ_ETOOBIG);
        assert_true(o.run.size < 8 * ELEMENTS_MAX);
        assert_int_equal(json_body_feed(parser, rq_bytes_of(piece, PIECE)), RQ_ETOOBIG);
        assert_int_equal(json_body_end(parser, &o.result), RQ_ETOOBIG);

        /* A text is not even copied. */
        o.run.size = STATEMENTS_BYTES_MAX - 4;
        assert_int_equal(json_body_begin(parser, &o.run), RQ_OK);
        feed("[\"SEL", 5);
        r = json_body_feed(parser, rq_bytes_of("ECT\"]", 5));
        assert_int_equal(r, RQ_ETOOBIG);
        json_body_abandon(parser);
        rq_buf_done(&o.run);
        free(piece);
}

static void hints_are_of_all_statements(void **state) {
        (void) state;
        static const struct { const char *body; bool may_be_read, refused; } hints[] = {
                { "[\"SELECT 1\",[\"VALUES(?)\",1]]", true, false },
                { "[\"SELECT 1\",\"DELETE FROM x\"]", false, false },
                { "[[\"INSERT INTO x VALUES(?)\",\"SELECT\"]]", false, false },
                { "[\"SELECT 1\",\"PRAGMA journal_mode=DELETE\"]", true, true },
        };
        for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
                outcome o;
                begin(&o);
                feed(hints[i].body, strlen(hints[i].body));
                end(&o);
                assert_int_equal(o.result.all_may_be_read, hints[i].may_be_read);
                assert_int_equal(o.result.refused_pragma, hints[i].refused);
                rq_buf_done(&o.run);
        }
}

static void large_values_and_many_keys(void **state) {
        (void) state;
        enum { SIZE = 300000, KEYS = 20000 };
        rq_buf body = {0};
        outcome o;
        assert_int_equal(rq_buf_append_text(&body, "[[\"S\",\""), RQ_OK);
        for (int i = 0; i < SIZE; i++)
                assert_int_equal(rq_buf_append_text(&body, i % 1000 == 0 ? "\\n" : "a"), RQ_OK);
        assert_int_equal(rq_buf_append_text(&body, "\",{"), RQ_OK);
        for (int i = 0; i < KEYS; i++)
                assert_int_equal(rq_buf_printf(&body, "%s\"k%d\":%d", i > 0 ? "," : "", i % (KEYS / 2), i), RQ_OK);
        assert_int_equal(rq_buf_append_text(&body, "}]]"), RQ_OK);
        begin(&o);
        for (size_t at = 0; at < body.size; at += 4093)
                feed((const char *) body.data + at, body.size - at < 4093 ? body.size - at : 4093);
        end(&o);
        assert_string_equal(o.result.problem, "");

        size_t size = statements_size(rq_buf_bytes(&o.run), STATEMENTS_OF_QUERY);
        uint8_t *bytes = malloc(size);
        (void) statements_copy(bytes, rq_buf_bytes(&o.run), STATEMENTS_OF_QUERY);
        Rq__Query *query = rq__query__unpack(NULL, size, bytes);
        assert_non_null(query);
        assert_int_equal(query->statements[0]->n_parameters, 1 + KEYS / 2);
        assert_int_equal(query->statements[0]->parameters[0]->value->text.len, SIZE);
        assert_int_equal(query->statements[0]->parameters[1]->value->integer, KEYS / 2);
        rq__query__free_unpacked(query, NULL);
        free(bytes);
        rq_buf_done(&o.run);
        rq_buf_done(&body);
}

/* The cost of a body must not depend on how it is cut: a large string or number
 * in single bytes. */
static void small_pieces_cost_no_more(void **state) {
        (void) state;
        enum { SIZE = 3000000 };
        outcome o;
        uint64_t start = rq_clock_mono_us();
        begin(&o);
        feed("[[\"S\",\"", 7);
        for (int i = 0; i < SIZE; i++)
                assert_int_equal(json_body_feed(parser, rq_bytes_of("a", 1)), RQ_OK);
        feed("\"]]", 3);
        end(&o);
        assert_string_equal(o.result.problem, "");
        assert_true(o.run.size > SIZE);
        rq_buf_done(&o.run);

        begin(&o);
        feed("[[\"S\",", 6);
        for (int i = 0; i < SIZE; i++)
                assert_int_equal(json_body_feed(parser, rq_bytes_of("1", 1)), RQ_OK);
        feed("]]", 2);
        end(&o);
        assert_string_equal(o.result.problem, "invalid JSON body"); /* no number is that long */
        rq_buf_done(&o.run);
        assert_true(rq_clock_mono_us() - start < 10000000);
}

static void long_numbers(void **state) {
        static const struct { int digits; const char *problem; } sizes[] = { { 300, "" }, { 4000, "invalid number " }, { 4097, "invalid JSON body" }, { 70000, "invalid JSON body" } };
        (void) state;
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                for (int cut = 0; cut < 2; cut++) {
                        rq_buf body = {0};
                        outcome o;
                        assert_int_equal(rq_buf_append_text(&body, "[[\"S\","), RQ_OK);
                        for (int d = 0; d < sizes[i].digits; d++)
                                assert_int_equal(rq_buf_append_text(&body, "9"), RQ_OK);
                        assert_int_equal(rq_buf_append_text(&body, "]]"), RQ_OK);
                        begin(&o);
                        for (size_t at = 0, n = cut ? 100 : body.size; at < body.size; at += n)
                                feed((const char *) body.data + at, body.size - at < n ? body.size - at : n);
                        end(&o);
                        assert_int_equal(strncmp(o.result.problem, sizes[i].problem, strlen(sizes[i].problem)), 0);
                        assert_int_equal(sizes[i].problem[0] == '\0', o.result.problem[0] == '\0');
                        rq_buf_done(&o.run);
                        rq_buf_done(&body);
                }
}

static void nesting_is_bounded(void **state) {
        (void) state;
        outcome o;
        begin(&o);
        feed("[[\"S\"", 5);
        feed(",", 1);
        for (int i = 0; i < 200000; i++)
                feed("[", 1);
        end(&o);
        assert_string_equal(o.result.problem, "invalid JSON body");
        rq_buf_done(&o.run);
}

static void an_abandoned_body_leaves_nothing(void **state) {
        (void) state;
        outcome o;
        begin(&o);
        feed("[[\"half of a stri", 17);
        json_body_abandon(parser);
        rq_buf_done(&o.run);
        begin(&o);
        feed("[\"S\"]", 5);
        end(&o);
        assert_string_equal(o.result.problem, "");
        assert_decodes(&o.run, "S()");
        rq_buf_done(&o.run);
}

static void strings_going_out(void **state) {
        (void) state;
        rq_buf out = {0};
        assert_int_equal(json_put_string(&out, rq_bytes_of("a\"\\\n\x01<&>\xE2\x80\xA8\xE2\x80\xA9\xC3\xA4\xFF\0\x7f", 19)), RQ_OK);
        const char *expected = "\"a\\\"\\\\\\n\\u0001\\u003c\\u0026\\u003e\\u2028\\u2029\xC3\xA4\\ufffd\\u0000\x7f\"";
        assert_int_equal(out.size, strlen(expected));
        assert_memory_equal(out.data, expected, out.size);
        rq_buf_done(&out);
}

static void seconds_going_out(void **state) {
        (void) state;
        static const struct { uint64_t ns; const char *text; } times[] = {
                { 1, "1e-9" }, { 911, "9.11e-7" }, { 910, "9.1e-7" }, { 20, "2e-8" }, { 1000, "0.000001" }, { 1061, "0.000001061" },
                { 1037860, "0.00103786" }, { 1500000000, "1.5" }, { 2000000000, "2" }, { 0, "0" }, { UINT64_C(3600000000001), "3600.000000001" },
        };
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
                char text[JSON_SECONDS_BYTES];
                size_t size = json_seconds(times[i].ns, text);
                assert_string_equal(text, times[i].text);
                assert_int_equal(size, strlen(text));
        }
}

static int open_parser(void **state) {
        (void) state;
        return json_body_new(&parser) == RQ_OK ? 0 : -1;
}

static int close_parser(void **state) {
        (void) state;
        (void) json_body_free(parser);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(all_cases_however_cut), cmocka_unit_test(statements_are_bounded), cmocka_unit_test(hints_are_of_all_statements),
                cmocka_unit_test(large_values_and_many_keys), cmocka_unit_test(small_pieces_cost_no_more),
                cmocka_unit_test(long_numbers), cmocka_unit_test(nesting_is_bounded),
                cmocka_unit_test(an_abandoned_body_leaves_nothing), cmocka_unit_test(strings_going_out), cmocka_unit_test(seconds_going_out),
        };
        return cmocka_run_group_tests(tests, open_parser, close_parser);
}
