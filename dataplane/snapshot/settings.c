#include "dataplane/snapshot/settings.h"

enum { HEADER_BYTES_MAX = 128 << 10, TRAILER_BYTES_MAX = 64 << 10 }; /* what fits the gather memory; see net/gather.h */

static uint32_t clamp32(uint64_t value, uint64_t most) {
    return (uint32_t)(value < most ? value : most);
}

static void fill_limits(struct settings *s, const Headgate__Limits *l) {
    s->limits = (struct limits){
        .body = l->body,
        .buffer = l->buffer < 4096 ? 4096 : l->buffer,
        .min_body_rate = clamp32(l->min_body_rate, UINT32_MAX),
        .header_bytes = clamp32(l->header_bytes, HEADER_BYTES_MAX),
        .headers = l->headers,
        .uri_bytes = clamp32(l->uri_bytes, HEADER_BYTES_MAX),
        .trailer_bytes = clamp32(l->trailer_bytes, TRAILER_BYTES_MAX),
        .requests_per_connection = l->requests_per_connection,
    };
    s->worker_buffer = l->worker_buffer;
    s->worker_sessions = l->worker_sessions;
    s->connections_per_ip = l->connections_per_ip;
    s->connections = l->connections;
}

static void fill_timeouts(struct timeouts *t, const Headgate__Timeouts *m) {
    *t = (struct timeouts){
        .header = m->header, .idle = m->idle, .response_head = m->response_head, .connect = m->connect,
        .request = m->request, .response = m->response, .body = m->body, .response_body = m->response_body,
        .write = m->write, .drain = m->drain,
        .tunnel_idle = m->tunnel_idle, .handshake = m->handshake,
    };
}

void timeouts_override(struct timeouts *t, const Headgate__Timeouts *m) {
    if (!m)
        return;
    const struct {
        protobuf_c_boolean has;
        uint64_t           value, *target;
    } rows[] = {
        {m->has_header, m->header, &t->header},       {m->has_idle, m->idle, &t->idle},
        {m->has_response_head, m->response_head, &t->response_head},
        {m->has_response, m->response, &t->response},
        {m->has_connect, m->connect, &t->connect},    {m->has_request, m->request, &t->request},
        {m->has_body, m->body, &t->body},             {m->has_response_body, m->response_body, &t->response_body},
        {m->has_write, m->write, &t->write},          {m->has_drain, m->drain, &t->drain},
        {m->has_tunnel_idle, m->tunnel_idle, &t->tunnel_idle}, {m->has_handshake, m->handshake, &t->handshake},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].has)
            *rows[i].target = rows[i].value;
}

static struct str lower_copy(struct arena *arena, const char *text) {
    struct str copy = arena_str(arena, str_of(text));
    for (size_t i = 0; copy.p && i < copy.n; i++)
        if (copy.p[i] >= 'A' && copy.p[i] <= 'Z')
            ((char *)(uintptr_t)copy.p)[i] |= 0x20;
    return copy;
}

static int fill_via(struct settings *s, struct arena *arena) {
    static const char *const versions[VIA_VERSIONS] = {"1.0", "1.1", "2", "3"};
    for (int i = 0; i < VIA_VERSIONS; i++) {
        char *text = arena_printf(arena, "%s %.*s", versions[i], STR_FMT(s->server_name));
        if (!text)
            return -1;
        s->via[i] = str_of(text);
    }
    return 0;
}

int settings_fill(struct settings *ret, const Headgate__Settings *m, struct arena *arena) {
    static const Headgate__Limits no_limits = HEADGATE__LIMITS__INIT;
    static const Headgate__Timeouts no_timeouts = HEADGATE__TIMEOUTS__INIT;
    static const Headgate__ForwardedFields no_forwarded = HEADGATE__FORWARDED_FIELDS__INIT;
    static const Headgate__AccessLog no_log = HEADGATE__ACCESS_LOG__INIT;
    static const Headgate__Settings nothing = HEADGATE__SETTINGS__INIT;
    m = m ? m : &nothing;
    const Headgate__ForwardedFields *f = m->forwarded ? m->forwarded : &no_forwarded;
    struct settings s = {
        .trusted_hops = m->trusted_hops, .x_forwarded = f->x_forwarded, .x_real_ip = f->x_real_ip,
        .forwarded = f->forwarded, .server_name = str_of(m->server_name),
        .request_id_header = lower_copy(arena, m->request_id_header),
        .path = path_policy_of(m->path),
        .access_log_format = (m->access_log ? m->access_log : &no_log)->format, .message = m,
    };
    fill_limits(&s, m->limits ? m->limits : &no_limits);
    fill_timeouts(&s.timeouts, m->timeouts ? m->timeouts : &no_timeouts);
    if (!s.request_id_header.p || (f->via && fill_via(&s, arena) < 0))
        return -1;
    s.request_id_field = field_lookup(s.request_id_header.p, s.request_id_header.n);
    *ret = s;
    return 0;
}
