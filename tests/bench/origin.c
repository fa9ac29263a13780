/* The benchmark's origin: answers every request with a body of fixed size over kept connections, cheaply.
 *
 *     origin [SIZE...]      GET /SIZE is answered with that many bytes of 'x', other targets with
 *                           the first SIZE (12)
 *
 * GET /served is answered with the number of other requests so far, so that a harness can tell proxied
 * responses from invented ones. One thread. Request bodies are not understood; a head may have 8 KiB. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "tests/bench/tcp.h"

enum { RESPONSES_MAX = 8, HEAD_MAX = 8192, RESPONSE_HEAD_MAX = 256, BODY_MAX = 16 * 1024 * 1024 };

struct response {
    char request_line[32]; /* how a request for it begins: "GET /12 " */
    char *bytes;           /* head and body */
    size_t size;
};

struct client {
    int fd;
    size_t received;    /* bytes of the next requests in `heads` */
    const char *unsent; /* of the response that is on its way */
    size_t unsent_size;
    char heads[HEAD_MAX];
    char count_response[RESPONSE_HEAD_MAX];
};

static struct response responses[RESPONSES_MAX];
static size_t response_count;
static uint64_t served;

static int response_head(char *out, size_t body_size) {
    return snprintf(out, RESPONSE_HEAD_MAX,
                    "HTTP/1.1 200 OK\r\n"
                    "Server: origin\r\n"
                    "Content-Type: text/plain\r\n"
                    "Content-Length: %zu\r\n\r\n",
                    body_size);
}

static void add_response(size_t body_size) {
    struct response *r = &responses[response_count++];
    r->bytes = malloc(RESPONSE_HEAD_MAX + body_size);
    if (!r->bytes)
        err(EXIT_FAILURE, "a response of %zu bytes", body_size);
    int head_size = response_head(r->bytes, body_size);
    memset(r->bytes + head_size, 'x', body_size);
    r->size = (size_t)head_size + body_size;
    snprintf(r->request_line, sizeof r->request_line, "GET /%zu ", body_size);
}

static bool begins_with(const char *head, size_t size, const char *beginning) {
    size_t n = strlen(beginning);
    return size >= n && memcmp(head, beginning, n) == 0;
}

static void answer_with_count(struct client *c) {
    char count[24];
    int digits = snprintf(count, sizeof count, "%" PRIu64, served);
    int head_size = response_head(c->count_response, (size_t)digits);
    memcpy(c->count_response + head_size, count, (size_t)digits);
    c->unsent = c->count_response;
    c->unsent_size = (size_t)(head_size + digits);
}

static void answer(struct client *c, size_t head_size) {
    if (begins_with(c->heads, head_size, "GET /served ")) {
        answer_with_count(c);
        return;
    }
    const struct response *r = &responses[0];
    for (size_t i = 1; i < response_count; i++)
        if (begins_with(c->heads, head_size, responses[i].request_line))
            r = &responses[i];
    c->unsent = r->bytes;
    c->unsent_size = r->size;
    served++;
}

/* Begins the response to the next whole head; false when there is none. */
static bool take_request(struct client *c) {
    char *end = memmem(c->heads, c->received, "\r\n\r\n", 4);
    if (!end)
        return false;
    size_t head_size = (size_t)(end + 4 - c->heads);
    answer(c, head_size);
    c->received -= head_size;
    memmove(c->heads, c->heads + head_size, c->received);
    return true;
}

/* Sends what the socket takes; false when the connection is gone. */
static bool flush(struct client *c) {
    while (c->unsent_size > 0) {
        ssize_t n = send(c->fd, c->unsent, c->unsent_size, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        c->unsent += n;
        c->unsent_size -= (size_t)n;
    }
    return true;
}

/* Reads what has come; false when the connection is gone or its head is too long. A read that did not fill
 * the room has emptied the socket, so that the next bytes are a new edge. */
static bool receive(struct client *c) {
    ssize_t n = recv(c->fd, c->heads + c->received, HEAD_MAX - c->received, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->received += (size_t)n;
    return c->received < HEAD_MAX;
}

/* Sends what is unsent, then answers one whole head after the other; false when the connection is gone. */
static bool answer_all(struct client *c) {
    do {
        if (!flush(c))
            return false;
    } while (c->unsent_size == 0 && take_request(c));
    return true;
}

static void client_ready(void *owner) {
    struct client *c = owner;
    if (receive(c) && answer_all(c))
        return;
    close(c->fd);
    free(c);
}

static void client_accepted(int epoll, int fd) {
    struct client *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return;
    }
    c->fd = fd;
    tcp_no_delay(fd);
    tcp_watch(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLET, c);
}

static void add_responses(int count, char *const *sizes) {
    if (count > RESPONSES_MAX)
        errx(2, "at most %d sizes", RESPONSES_MAX);
    for (int i = 0; i < count; i++) {
        char *end;
        errno = 0;
        unsigned long size = strtoul(sizes[i], &end, 10);
        if (errno || *end || end == sizes[i] || size > BODY_MAX)
            errx(2, "%s: expected a size of 0 to %d bytes", sizes[i], BODY_MAX);
        add_response(size);
    }
    if (count == 0)
        add_response(12);
}

int main(int argc, char **argv) {
    add_responses(argc - 1, argv + 1);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    tcp_serve(epoll, tcp_listen_and_print_port(), client_accepted, client_ready);
}
