#include "dataplane/http/access_log.h"

#include "dataplane/core/log_ring.h"
#include "dataplane/http/date.h"
#include "dataplane/http/exchange.h"
#include "dataplane/http/record.h"

enum { RECORD_MAX = 32768, VALUE_MAX = 1024 }; /* a value grows at most sixfold when it is escaped */

static struct str version_text(const struct exchange *x) {
    switch (x->log_version) {
    case 0: return STR("TCP");
    case 10: return STR("HTTP/1.0");
    case 20: return STR("HTTP/2.0");
    case 30: return STR("HTTP/3.0");
    default: return STR("HTTP/1.1");
    }
}

static struct str outcome(const struct exchange *x) {
    if (x->abort == ABORT_NONE)
        return STR("-");
    return str_of(x->detail ? x->detail : abort_meaning(x->abort)->word);
}

static struct str or_dash(struct str s) {
    return s.n ? s : STR("-");
}

static struct str route_name(const struct exchange *x) {
    return x->route ? x->route->name : x->route_name;
}

static void member(struct record *r, const char *name, struct str value) {
    if (!value.n)
        return;
    value.n = value.n < VALUE_MAX ? value.n : VALUE_MAX;
    record_add(r, STR(",\""));
    record_add(r, str_of(name));
    record_add(r, STR("\":"));
    record_add_json(r, value);
}

static void number(struct record *r, const char *name, uint64_t value) {
    record_add(r, STR(",\""));
    record_add(r, str_of(name));
    record_add(r, STR("\":"));
    record_add_uint(r, value);
}

static void json_request(struct record *r, const struct exchange *x) {
    member(r, "method", x->log_method);
    member(r, "host", x->log_host);
    member(r, "target", x->log_target);
}

static void format_json(struct record *r, const struct exchange *x, const struct date_texts *date) {
    char ms[] = {'.', (char)('0' + date->ms / 100), (char)('0' + date->ms / 10 % 10), (char)('0' + date->ms % 10), 'Z', '"'};
    record_add(r, STR("{\"time\":\""));
    record_add(r, date->iso);
    record_add(r, (struct str){ms, sizeof ms});
    member(r, "client", x->client);
    if (!str_eq(x->client, x->peer))
        member(r, "peer", x->peer);
    if (!exchange_is_tcp(x))
        json_request(r, x);
    member(r, "protocol", version_text(x));
    if (!exchange_is_tcp(x))
        number(r, "status", x->status);
    number(r, "request_bytes", x->request.bytes);
    number(r, "response_bytes", x->response.bytes);
    number(r, "duration_us", x->done_at - x->began);
    if (x->head_at)
        number(r, exchange_is_tcp(x) ? "connect_us" : "response_head_us", x->head_at - x->began);
    member(r, "listener", x->listener->name);
    if (!exchange_is_tcp(x))
        member(r, "route", route_name(x));
    member(r, "cluster", x->cluster);
    member(r, "endpoint", x->endpoint);
    if (x->attempts > 1)
        number(r, "attempts", x->attempts);
    if (x->abort)
        member(r, "error", outcome(x));
    member(r, "request_id", x->request_id);
    member(r, "user_agent", x->log_user_agent);
    member(r, "referer", x->log_referer);
    record_add(r, STR("}\n"));
}

static void format_text(struct record *r, const struct exchange *x, const struct date_texts *date) {
    record_add(r, date->iso);
    record_add(r, STR("Z "));
    record_add_escaped(r, or_dash(x->client));
    record_add(r, STR(" "));
    record_add_escaped(r, or_dash(x->log_method));
    record_add(r, STR(" "));
    record_add_escaped(r, or_dash(x->log_host));
    record_add(r, STR(" "));
    record_add_escaped(r, or_dash(x->log_target));
    record_add(r, STR(" "));
    record_add_uint(r, x->status);
    record_add(r, STR(" "));
    record_add_uint(r, x->request.bytes);
    record_add(r, STR("/"));
    record_add_uint(r, x->response.bytes);
    record_add(r, STR(" "));
    record_add_seconds(r, x->done_at - x->began);
    record_add(r, STR("s "));
    record_add(r, or_dash(route_name(x)));
    record_add(r, STR(" "));
    record_add(r, or_dash(x->cluster));
    record_add(r, STR(" "));
    record_add(r, or_dash(x->endpoint));
    record_add(r, STR(" "));
    record_add(r, outcome(x));
    record_add(r, STR("\n"));
}

/* The format of Apache and nginx that log analysers know. */
static void format_combined(struct record *r, const struct exchange *x, const struct date_texts *date) {
    record_add_escaped(r, or_dash(x->client));
    record_add(r, STR(" - - ["));
    record_add(r, date->log);
    record_add(r, STR("] \""));
    record_add_escaped(r, or_dash(x->log_method));
    record_add(r, STR(" "));
    record_add_escaped(r, or_dash(x->log_target));
    record_add(r, STR(" "));
    record_add(r, version_text(x));
    record_add(r, STR("\" "));
    record_add_uint(r, x->status);
    record_add(r, STR(" "));
    record_add_uint(r, x->response.bytes);
    record_add(r, STR(" \""));
    record_add_escaped(r, or_dash(x->log_referer));
    record_add(r, STR("\" \""));
    record_add_escaped(r, or_dash(x->log_user_agent));
    record_add(r, STR("\"\n"));
}

/* Apart from its caller: a frame of this size costs something even where nothing is written. */
__attribute__((noinline)) static void write_record(struct exchange *x) {
    struct worker *w = x->worker;
    char text[RECORD_MAX];
    struct record r = {text, text + sizeof text - 2}; /* a line end always fits */
    const struct date_texts *date = date_now(w->now);
    switch (x->listener->settings->access_log_format) {
    case HEADGATE__ACCESS_LOG__FORMAT__JSON: format_json(&r, x, date); break;
    case HEADGATE__ACCESS_LOG__FORMAT__TEXT: format_text(&r, x, date); break;
    case HEADGATE__ACCESS_LOG__FORMAT__COMBINED: format_combined(&r, x, date); break;
    default: return;
    }
    if (r.at[-1] != '\n')
        *r.at++ = '\n';
    if (!log_ring_put(w->access_log, text, (size_t)(r.at - text)))
        stats_add(&w->stats->access_log_dropped_total, 1);
}

void access_log_write(struct exchange *x) {
    if (x->worker->access_log)
        write_record(x);
}
