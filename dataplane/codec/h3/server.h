/* server.h — HTTP/3 towards clients (RFC 9114). */
#pragma once

#include <stdint.h>

struct listener_runtime;
struct quic_conn;
struct quic_user;

/* Begins to speak HTTP/3 on a connection whose keys are there. Takes the cap slot and calls listener_add. NULL: no memory,
 * nothing was taken. */
struct quic_user *h3_server_accept(struct listener_runtime *, struct quic_conn *, uint32_t cap_slot);
