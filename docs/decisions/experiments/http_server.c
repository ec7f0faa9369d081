/* A small POST answered with a small JSON body: evhttp, http-parser on a bufferevent, http-parser on a raw read buffer.
 *
 *   gcc -O2 -std=gnu17 -Wall http_server.c -o http_server -levent -lhttp_parser
 *   ./http_server evhttp|bufferevent|raw PORT SECONDS &  wrk -t1 -c64 -d3 -s http_post.lua http://127.0.0.1:PORT/db/execute
 *
 * At its end the server prints requests served, its peak memory and its own CPU (user + system) per request, which is the figure to
 * compare: wrk shares the machine, so requests per second depend on it as well. All variants keep connections alive and
 * send the same headers of the same length but for evhttp's Date, which is why the others send one too. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

static const char answer[] = "{\"results\":[{\"last_insert_id\":1234567,\"rows_affected\":1}],\"\":1}";
static struct event_base *base;
static uint64_t served, body_bytes;

/* ---- evhttp ---- */

static void on_request(struct evhttp_request *request, void *arg) {
	(void)arg;
	body_bytes += evbuffer_get_length(evhttp_request_get_input_buffer(request));
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	evhttp_add_header(headers, "Content-Type", "application/json; charset=utf-8");
	struct evbuffer *body = evbuffer_new();
	evbuffer_add_reference(body, answer, sizeof answer - 1, NULL, NULL);
	evhttp_send_reply(request, 200, "OK", body);
	evbuffer_free(body);
	served++;
}

/* ---- http-parser, shared by both other variants ---- */

struct connection {
	http_parser parser;
	struct bufferevent *bufferevent; /* variant bufferevent */
	struct event *readable;          /* variant raw */
	int complete;                    /* requests to answer from this read */
	size_t url_length, header_bytes;
	char url[256];
	char input[16384];
};

static int on_begin(http_parser *parser) {
	struct connection *c = parser->data;
	c->url_length = c->header_bytes = 0;
	return 0;
}

static int on_url(http_parser *parser, const char *at, size_t length) {
	struct connection *c = parser->data;
	if (c->url_length + length > sizeof c->url)
		return 1;
	memcpy(c->url + c->url_length, at, length);
	c->url_length += length;
	return 0;
}

static int on_header(http_parser *parser, const char *at, size_t length) {
	struct connection *c = parser->data;
	(void)at;
	c->header_bytes += length; /* a service looks for the five headers that it needs */
	return 0;
}

static int on_body(http_parser *parser, const char *at, size_t length) {
	(void)parser, (void)at;
	body_bytes += length; /* streams: a service feeds the JSON parser here */
	return 0;
}

static int on_complete(http_parser *parser) {
	struct connection *c = parser->data;
	c->complete++;
	served++;
	return 0;
}

static const http_parser_settings settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_header,
    .on_header_value = on_header,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

static struct connection *connection_new(void) {
	struct connection *c = calloc(1, sizeof *c);
	http_parser_init(&c->parser, HTTP_REQUEST);
	c->parser.data = c;
	return c;
}

static int make_headers(char *buffer, size_t size) {
	static char date[64];
	static time_t made;
	struct timeval now;
	event_base_gettimeofday_cached(base, &now);
	if (now.tv_sec != made) {
		made = now.tv_sec;
		strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&made));
	}
	return snprintf(buffer, size,
	                "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: %s\r\nContent-Length: %zu\r\n\r\n",
	                date, sizeof answer - 1);
}

/* ---- bufferevent ---- */

static void buffer_close(struct bufferevent *b, short what, void *arg) {
	(void)what;
	bufferevent_free(b);
	free(arg);
}

static void buffer_read(struct bufferevent *b, void *arg) {
	struct connection *c = arg;
	struct evbuffer *input = bufferevent_get_input(b), *output = bufferevent_get_output(b);
	struct evbuffer_iovec part; /* parse in place: no copy, no pull-up */
	while (evbuffer_peek(input, -1, NULL, &part, 1) > 0 && part.iov_len) {
		size_t parsed = http_parser_execute(&c->parser, &settings, part.iov_base, part.iov_len);
		if (parsed != part.iov_len) {
			buffer_close(b, 0, c);
			return;
		}
		evbuffer_drain(input, parsed);
	}
	for (; c->complete; c->complete--) {
		char headers[512];
		evbuffer_add(output, headers, (size_t)make_headers(headers, sizeof headers));
		evbuffer_add(output, answer, sizeof answer - 1);
	}
}

static void accept_buffer(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *a, int n, void *arg) {
	(void)l, (void)a, (void)n, (void)arg;
	struct connection *c = connection_new();
	c->bufferevent = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(c->bufferevent, buffer_read, NULL, buffer_close, c);
	bufferevent_enable(c->bufferevent, EV_READ | EV_WRITE);
}

/* ---- raw ---- */

static void raw_readable(evutil_socket_t fd, short what, void *arg) {
	struct connection *c = arg;
	(void)what;
	ssize_t n = read(fd, c->input, sizeof c->input);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || http_parser_execute(&c->parser, &settings, c->input, (size_t)n) != (size_t)n) {
		event_free(c->readable);
		close(fd);
		free(c);
		return;
	}
	for (; c->complete; c->complete--) {
		char headers[512];
		struct iovec parts[2] = {{headers, (size_t)make_headers(headers, sizeof headers)}, {(char *)answer, sizeof answer - 1}};
		if (writev(fd, parts, 2) < 0) /* an answer this small fits; a service would keep the rest and wait for EV_WRITE */
			shutdown(fd, SHUT_RDWR);
	}
}

static void accept_raw(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *a, int n, void *arg) {
	(void)l, (void)a, (void)n, (void)arg;
	struct connection *c = connection_new();
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, raw_readable, c);
	event_add(c->readable, NULL);
}

static void stop(evutil_socket_t fd, short what, void *arg) {
	(void)fd, (void)what, (void)arg;
	event_base_loopbreak(base);
}

int main(int argc, char **argv) {
	if (argc < 4)
		return 2;
	struct timeval limit = {atoi(argv[3]), 0};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	base = event_base_new();
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(argv[1], "evhttp")) {
		struct evhttp *http = evhttp_new(base);
		evhttp_set_gencb(http, on_request, NULL);
		if (evhttp_bind_socket(http, "127.0.0.1", (ev_uint16_t)atoi(argv[2])))
			return 1;
	} else {
		struct evconnlistener *l = evconnlistener_new_bind(base, !strcmp(argv[1], "raw") ? accept_raw : accept_buffer, NULL,
		                                                   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 128, (struct sockaddr *)&address, sizeof address);
		if (!l)
			return 1;
	}
	event_add(evtimer_new(base, stop, NULL), &limit);
	event_base_dispatch(base);
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	double user = r.ru_utime.tv_sec + r.ru_utime.tv_usec * 1e-6, kernel = r.ru_stime.tv_sec + r.ru_stime.tv_usec * 1e-6;
	printf("%-12s %8lu requests  %.2f us CPU per request (%.2f user, %.2f system), body bytes per request %.0f, peak %ld kB\n", argv[1],
	       (unsigned long)served, (user + kernel) / served * 1e6, user / served * 1e6, kernel / served * 1e6, (double)body_bytes / served, r.ru_maxrss);
}
