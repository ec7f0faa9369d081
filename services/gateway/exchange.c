#include "exchange.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/assert.h"
#include "core/write_queue.h"
#include "gateway.h"
#include "io/gzip.h"

enum {
        PLACE_BITS     = 20,
        KEEP_BYTES_MAX = 16 * 1024, /* of buffers of an unused place */
};

_Static_assert(EXCHANGES_MAX == 1 << PLACE_BITS, "a place fits its bits");

static void trim(rq_buf *buf) {
        buf->size = 0;
        if (buf->capacity > KEEP_BYTES_MAX)
                rq_buf_done(buf);
}

static rq_err grow(exchange_pool *pool) {
        uint32_t count = pool->place_count == 0 ? 64 : pool->place_count * 2;
        if (count > EXCHANGES_MAX)
                return RQ_EFULL;
        exchange **places = reallocarray(pool->places, count, sizeof(exchange *));
        if (places == NULL)
                return RQ_ENOMEM;
        pool->places = places;
        uint32_t *free_places = reallocarray(pool->free_places, count, sizeof *free_places);
        if (free_places == NULL)
                return RQ_ENOMEM;
        pool->free_places = free_places;
        for (uint32_t i = count; i-- > pool->place_count;) {
                places[i] = NULL;
                free_places[pool->free_count++] = i;
        }
        pool->place_count = count;
        return RQ_OK;
}

rq_err exchange_new(gateway *gw, http_conn *conn, exchange **ret_exchange) {
        exchange_pool *pool = &gw->exchanges;
        if (pool->free_count == 0) {
                rq_err r = grow(pool);
                if (r < 0)
                        return r;
        }
        uint32_t place = pool->free_places[pool->free_count - 1];
        exchange *ex = pool->places[place];
        if (ex == NULL) {
                ex = calloc(1, sizeof *ex);
                if (ex == NULL)
                        return RQ_ENOMEM;
                ex->place = place;
                rq_list_init(&ex->waiting);
                rq_list_init(&ex->arriving);
                pool->places[place] = ex;
        }
        pool->free_count--;
        pool->used_count++;
        ex->gw = gw;
        ex->conn = conn;
        exchange_renew_id(ex);
        gw->metrics.gateway.requests_in_flight = pool->used_count;
        *ret_exchange = ex;
        return RQ_OK;
}

void exchange_renew_id(exchange *ex) {
        ex->uses++;
        ex->id = (uint64_t) ex->uses << PLACE_BITS | ex->place;
}

static void give_back_body(gateway *gw, json_body *body) {
        if (body == NULL)
                return;
        json_body_abandon(body);
        if (gw->body_count < JSON_BODIES_KEPT)
                gw->bodies[gw->body_count++] = body;
        else
                (void) json_body_free(body);
}

void exchange_free(exchange *ex) {
        gateway *gw = ex->gw;
        exchange_pool *pool = &gw->exchanges;

        if (ex->conn != NULL)
                http_conn_set_data(ex->conn, NULL);
        wheel_cancel(&gw->deadlines, &ex->deadline);
        rq_list_remove(&ex->waiting);
        rq_list_remove(&ex->arriving);
        if (ex->queued != NULL)
                ex->queued->waiter = NULL;
        give_back_body(gw, ex->body);
        for (int i = 0; i < 2; i++)
                json_decref(ex->documents[i]);
        ex->gzip = gzip_free(ex->gzip);
        gw->body_bytes -= ex->charged_bytes;
        trim(&ex->text);
        trim(&ex->statements);
        trim(&ex->groups);
        trim(&ex->location);

        /* All else begins anew; buffers and identity of the place stay. */
        exchange kept = { .place = ex->place, .uses = ex->uses, .text = ex->text, .statements = ex->statements, .groups = ex->groups, .location = ex->location };
        *ex = kept;
        rq_list_init(&ex->waiting);
        rq_list_init(&ex->arriving);
        pool->free_places[pool->free_count++] = ex->place;
        pool->used_count--;
        gw->metrics.gateway.requests_in_flight = pool->used_count;
}

void exchange_pool_done(exchange_pool *pool) {
        rq_assert(pool->used_count == 0);
        for (uint32_t i = 0; i < pool->place_count; i++) {
                if (pool->places[i] == NULL)
                        continue;
                rq_buf_done(&pool->places[i]->text);
                rq_buf_done(&pool->places[i]->statements);
                rq_buf_done(&pool->places[i]->groups);
                rq_buf_done(&pool->places[i]->location);
                free(pool->places[i]);
        }
        free(pool->places);
        free(pool->free_places);
        *pool = (exchange_pool) {0};
}

exchange *exchange_find(const exchange_pool *pool, uint64_t id) {
        uint32_t place = (uint32_t) (id & (EXCHANGES_MAX - 1));
        exchange *ex = place < pool->place_count ? pool->places[place] : NULL;
        return ex != NULL && ex->gw != NULL && ex->id == id ? ex : NULL;
}

exchange *exchange_next(const exchange_pool *pool, uint32_t *cursor) {
        while (*cursor < pool->place_count) {
                exchange *ex = pool->places[(*cursor)++];
                if (ex != NULL && ex->gw != NULL)
                        return ex;
        }
        return NULL;
}
