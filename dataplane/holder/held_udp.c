#include <arpa/inet.h>
#include <string.h>

#include "common/udp_options.h"
#include "dataplane/holder/held_sockets.h"

_Static_assert((int)STEERING_HASH == HOLDER_STEERED_NOT && (int)STEERING_CLASSIC == HOLDER_STEERED_CLASSIC &&
               (int)STEERING_EBPF == HOLDER_STEERED_EBPF, "passed on as they are");
_Static_assert((int)HOLDER_SOCKETS_MAX <= (int)STEERING_SOCKETS_MAX, "every socket of an address can be steered to");

/* What each of the sockets has. They are of one kind, so the last one speaks for all. */
static uint32_t set_buffers(const struct held_address *h, int option, uint32_t wanted) {
    size_t got = 0;
    for (unsigned i = 0; i < h->count; i++)
        got = udp_set_buffer(h->fds[i], option, wanted);
    return (uint32_t)got;
}

static struct steering_rule rule_of(const struct held_udp *udp, uint32_t id_length) {
    struct steering_rule rule = {.generation = udp->generation, .id_length = (uint8_t)id_length};
    memcpy(rule.key, udp->key, sizeof rule.key);
    rule.key[0] = ntohl(rule.key[0]);
    rule.key[1] = ntohl(rule.key[1]);
    return rule;
}

void held_sockets_set_udp(struct held_sockets *held, struct held_address *h, const struct holder_udp_wish *wish,
                          struct holder_udp *ret) {
    struct held_udp *udp = &held->udp;
    struct steering_rule rule = rule_of(udp, wish->id_length);
    *ret = (struct holder_udp){.receive_buffer = set_buffers(h, SO_RCVBUF, wish->receive_buffer),
                               .send_buffer = set_buffers(h, SO_SNDBUF, wish->send_buffer),
                               .generation = udp->generation};
    ret->steering = (uint8_t)steering_apply(udp->programs, &h->steering, udp->most, &h->bound, h->fds, h->count, &rule);
    memcpy(ret->key, udp->key, sizeof ret->key);
}
