/* asking_udp.h — UDP sockets of a holder without its process: requests answered in place. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"
#include "dataplane/holder/requests.h"

static struct requests requests;

static struct address address_of(const char *text) {
    struct address a;
    assert_int_equal(address_parse(str_of(text), &a), 0);
    return a;
}

static struct holder_request request_for(enum holder_operation operation, const struct address *a) {
    struct holder_request q = {.version = HOLDER_PROTOCOL_VERSION, .operation = (uint8_t)operation, .id = 7};
    q.address_length = a->length;
    memcpy(&q.u.address, &a->u, a->length);
    return q;
}

static int ask(const struct holder_request *q) {
    requests_answer(&requests, q, sizeof *q);
    requests.has_reply = false;
    assert_int_equal(requests.reply.id, 7);
    return requests.reply.error;
}

static int listen_udp(const struct address *a, unsigned count, unsigned id_length) {
    struct holder_request q = request_for(HOLDER_LISTEN_UDP, a);
    q.count = (uint16_t)count;
    q.udp.id_length = id_length;
    return ask(&q);
}

static int unlisten_udp(const struct address *a) {
    struct holder_request q = request_for(HOLDER_UNLISTEN_UDP, a);
    return ask(&q);
}

static struct address bound_address(void) {
    struct address a = {.length = requests.reply.address_length};
    memcpy(&a.u, &requests.reply.address, a.length);
    return a;
}
