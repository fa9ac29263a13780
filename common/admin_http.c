#include "common/admin_http.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"

enum connection_state { READING, WRITING, CLOSING };

struct connection {
    struct admin_http *owner;
    struct connection *next, *previous; /* newest first */
    enum connection_state state;
    bool is_local;
    ev_io io;
    ev_timer deadline;
    char head[ADMIN_HTTP_HEAD_MAX];
    size_t head_size;
    struct strbuf out;
    size_t written;
};

struct admin_http {
    struct ev_loop *loop;
    struct address address;
    struct token_file *token;
    void (*answer)(void *context, struct str path, struct admin_http_answer *answer);
    void *context;
    ev_io accept_io;
    ev_timer accept_again; /* runs while no descriptor was free */
    struct connection *newest, *oldest;
    size_t count;
};

/* ---- the parser ---- */

static bool is_visible_ascii(struct str s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return false;
    return s.n > 0;
}

static unsigned parse_request_line(struct str line, struct admin_http_request *request) {
    struct str method = str_cut(&line, ' ');
    struct str target = str_cut(&line, ' ');
    struct str version = line;
    if (!is_visible_ascii(method) || !is_visible_ascii(target) || !str_starts(version, STR("HTTP/")))
        return 400;
    if (!str_eq(version, STR("HTTP/1.1")) && !str_eq(version, STR("HTTP/1.0")))
        return 505;
    request->is_head = str_eq(method, STR("HEAD"));
    if (!request->is_head && !str_eq(method, STR("GET")))
        return 405;
    if (target.p[0] != '/')
        return 400;
    if (target.n > ADMIN_HTTP_TARGET_MAX)
        return 414;
    request->path = str_cut(&target, '?');
    return 0;
}

static unsigned parse_field(struct str line, struct admin_http_request *request) {
    struct str value = line;
    struct str name = str_cut(&value, ':');
    if (!value.p || !is_visible_ascii(name))
        return 400;
    if (!str_eq_nocase(name, STR("authorization")))
        return 0;
    if (request->authorization.n)
        return 400;
    request->authorization = str_trim(value);
    return 0;
}

/* The next line without its CRLF; -1 where a line ends in anything else. */
static int take_line(struct str *rest, struct str *ret) {
    struct str line = str_cut(rest, '\n');
    if (!rest->p || line.n == 0 || line.p[line.n - 1] != '\r')
        return -1;
    line.n--;
    if (memchr(line.p, '\r', line.n) || memchr(line.p, '\0', line.n))
        return -1;
    *ret = line;
    return 0;
}

unsigned admin_http_parse(struct str head, struct admin_http_request *ret) {
    struct admin_http_request request = {0};
    struct str line;
    if (take_line(&head, &line) < 0)
        return 400;
    unsigned refusal = parse_request_line(line, &request);
    while (refusal == 0) {
        if (take_line(&head, &line) < 0)
            return 400;
        if (line.n == 0)
            break;
        refusal = parse_field(line, &request);
    }
    if (refusal == 0)
        *ret = request;
    return refusal;
}

/* ---- one connection ---- */

static void unlink_connection(struct connection *c) {
    struct admin_http *h = c->owner;
    if (c->previous)
        c->previous->next = c->next;
    else
        h->newest = c->next;
    if (c->next)
        c->next->previous = c->previous;
    else
        h->oldest = c->previous;
    h->count--;
}

static void connection_destroy(struct connection *c) {
    unlink_connection(c);
    ev_io_stop(c->owner->loop, &c->io);
    ev_timer_stop(c->owner->loop, &c->deadline);
    close(c->io.fd);
    strbuf_finish(&c->out);
    hg_free(c);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    connection_destroy(timer->data);
}

static const char *reason_phrase(unsigned status) {
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "";
    }
}

static void compose(struct connection *c, const struct admin_http_answer *answer, bool is_head) {
    strbuf_printf(&c->out, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", answer->status,
                  reason_phrase(answer->status), answer->content_type, answer->body.n);
    if (answer->status == 401)
        strbuf_puts(&c->out, "WWW-Authenticate: Bearer\r\n");
    if (answer->status == 405)
        strbuf_puts(&c->out, "Allow: GET, HEAD\r\n");
    strbuf_puts(&c->out, "Cache-Control: no-store\r\nConnection: close\r\n\r\n");
    if (!is_head)
        strbuf_add_str(&c->out, strbuf_str(&answer->body));
}

static void answer_plainly(struct admin_http_answer *answer, unsigned status) {
    answer->status = status;
    strbuf_printf(&answer->body, "%s\n", reason_phrase(status));
}

/* Takes as long for a wrong token as for a right one. */
static bool is_same_secret(struct str a, struct str b) {
    unsigned difference = a.n != b.n;
    for (size_t i = 0; i < a.n; i++)
        difference |= (unsigned char)a.p[i] ^ (unsigned char)b.p[b.n ? i % b.n : 0];
    return difference == 0;
}

/* 0, or the status that keeps this peer from the metrics. */
static unsigned metrics_refusal(const struct connection *c, const struct admin_http_request *request) {
    if (c->is_local)
        return 0;
    if (!c->owner->token)
        return 403;
    struct str shown = request->authorization;
    struct str scheme = str_cut(&shown, ' ');
    bool is_bearer = shown.p && str_eq_nocase(scheme, STR("bearer"));
    return is_bearer && is_same_secret(str_trim(shown), str_of(token_file_get(c->owner->token))) ? 0 : 401;
}

static void respond(struct connection *c, struct str head) {
    struct admin_http_answer answer = {.status = 404, .content_type = "text/plain; charset=utf-8"};
    struct admin_http_request request = {0};
    unsigned refusal = admin_http_parse(head, &request);
    if (refusal == 0 && str_eq(request.path, STR("/metrics")))
        refusal = metrics_refusal(c, &request);
    if (refusal)
        answer_plainly(&answer, refusal);
    else
        c->owner->answer(c->owner->context, request.path, &answer);
    if (answer.status == 404 && answer.body.n == 0)
        answer_plainly(&answer, 404);
    compose(c, &answer, request.is_head);
    strbuf_finish(&answer.body);
}

/* Our side is done; what the peer still sends is read and dropped, or closing would reset the answer away. */
static void start_closing(struct connection *c) {
    c->state = CLOSING;
    shutdown(c->io.fd, SHUT_WR);
    ev_io_stop(c->owner->loop, &c->io);
    ev_io_modify(&c->io, EV_READ);
    ev_io_start(c->owner->loop, &c->io);
}

static void write_more(struct connection *c) {
    while (c->written < c->out.n) {
        ssize_t n = send(c->io.fd, c->out.p + c->written, c->out.n - c->written, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            connection_destroy(c);
            return;
        }
        c->written += (size_t)n;
    }
    start_closing(c);
}

static void start_writing(struct connection *c, struct str head) {
    respond(c, head);
    if (c->out.failed) {
        connection_destroy(c);
        return;
    }
    c->state = WRITING;
    ev_io_stop(c->owner->loop, &c->io);
    ev_io_modify(&c->io, EV_WRITE);
    ev_io_start(c->owner->loop, &c->io);
    write_more(c);
}

static void refuse_large_head(struct connection *c) {
    struct admin_http_answer answer = {.content_type = "text/plain; charset=utf-8"};
    answer_plainly(&answer, 431);
    compose(c, &answer, false);
    strbuf_finish(&answer.body);
    c->state = WRITING;
    ev_io_stop(c->owner->loop, &c->io);
    ev_io_modify(&c->io, EV_WRITE);
    ev_io_start(c->owner->loop, &c->io);
}

static void read_more(struct connection *c) {
    ssize_t n = recv(c->io.fd, c->head + c->head_size, sizeof c->head - c->head_size, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        connection_destroy(c);
        return;
    }
    c->head_size += (size_t)n;
    char *end = memmem(c->head, c->head_size, "\r\n\r\n", 4);
    if (end)
        start_writing(c, (struct str){c->head, (size_t)(end + 4 - c->head)});
    else if (c->head_size == sizeof c->head)
        refuse_large_head(c);
}

static void read_and_drop(struct connection *c) {
    ssize_t n = recv(c->io.fd, c->head, sizeof c->head, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        connection_destroy(c);
}

static void on_io(struct ev_loop *loop, ev_io *io, int events) {
    struct connection *c = io->data;
    (void)loop;
    (void)events;
    switch (c->state) {
    case READING: read_more(c); break;
    case WRITING: write_more(c); break;
    case CLOSING: read_and_drop(c); break;
    }
}

/* ---- the listener ---- */

static void start_connection(struct admin_http *h, int fd, const struct address *peer) {
    struct connection *c = hg_calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    if (h->count == ADMIN_HTTP_CONNECTIONS_MAX)
        connection_destroy(h->oldest);
    c->owner = h;
    c->is_local = peer->u.any.sa_family == AF_UNIX || address_is_loopback(peer);
    c->next = h->newest;
    if (h->newest)
        h->newest->previous = c;
    else
        h->oldest = c;
    h->newest = c;
    h->count++;
    ev_io_init(&c->io, on_io, fd, EV_READ);
    c->io.data = c;
    ev_io_start(h->loop, &c->io);
    ev_timer_init(&c->deadline, on_deadline, ADMIN_HTTP_TIMEOUT, 0.);
    c->deadline.data = c;
    ev_timer_start(h->loop, &c->deadline);
}

static void on_accept_again(struct ev_loop *loop, ev_timer *timer, int events) {
    struct admin_http *h = timer->data;
    (void)events;
    ev_io_start(loop, &h->accept_io);
}

/* The socket stays readable while nothing can be accepted: look away for a second instead of spinning. */
static void pause_accepting(struct admin_http *h) {
    log_warning("admin listener: no free descriptor for a connection");
    ev_io_stop(h->loop, &h->accept_io);
    ev_timer_set(&h->accept_again, 1., 0.);
    ev_timer_start(h->loop, &h->accept_again);
}

static void on_accept(struct ev_loop *loop, ev_io *io, int events) {
    struct address peer = {.length = sizeof peer.u};
    (void)loop;
    (void)events;
    int fd = accept4(io->fd, &peer.u.any, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        start_connection(io->data, fd, &peer);
    else if (errno == EMFILE || errno == ENFILE)
        pause_accepting(io->data);
}

static int bind_listener(const struct address *address) {
    int fd = socket(address->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (address->u.any.sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, &address->u.any, address->length) < 0 || listen(fd, ADMIN_HTTP_CONNECTIONS_MAX) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int open_listener(const struct admin_http_config *config, struct error_list *errors) {
    int fd = config->listen_fd >= 0 ? config->listen_fd : bind_listener(&config->address);
    if (fd < 0) {
        char text[ADDRESS_TEXT_MAX];
        address_format(&config->address, text);
        error_addf(errors, errno == EADDRINUSE ? ERROR_ADDRESS_IN_USE : ERROR_IO,
                   "the admin listener cannot bind %s: %s", text, strerror(errno));
    }
    return fd;
}

static struct admin_http *create_around(struct ev_loop *loop, const struct admin_http_config *config,
                                        int fd) {
    struct admin_http *h = hg_calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->loop = loop;
    h->answer = config->answer;
    h->context = config->context;
    h->address.length = sizeof h->address.u;
    h->token = config->metrics_token;
    if (getsockname(fd, &h->address.u.any, &h->address.length) < 0) {
        hg_free(h);
        return NULL;
    }
    ev_io_init(&h->accept_io, on_accept, fd, EV_READ);
    h->accept_io.data = h;
    ev_io_start(loop, &h->accept_io);
    ev_init(&h->accept_again, on_accept_again);
    h->accept_again.data = h;
    return h;
}

struct admin_http *admin_http_create(struct ev_loop *loop, const struct admin_http_config *config,
                                     struct error_list *errors) {
    int fd = open_listener(config, errors);
    if (fd < 0)
        return NULL;
    struct admin_http *h = create_around(loop, config, fd);
    if (!h) {
        error_addf(errors, ERROR_MEMORY, "no memory for the admin listener");
        close(fd);
    }
    return h;
}

void admin_http_destroy(struct admin_http *h) {
    if (!h)
        return;
    while (h->oldest)
        connection_destroy(h->oldest);
    ev_timer_stop(h->loop, &h->accept_again);
    ev_io_stop(h->loop, &h->accept_io);
    close(h->accept_io.fd);
    hg_free(h);
}

const struct address *admin_http_address(const struct admin_http *h) {
    return &h->address;
}
