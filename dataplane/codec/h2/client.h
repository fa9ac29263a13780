/* client.h — HTTP/2 towards origins (RFC 9113): by ALPN over TLS, by prior knowledge without. Many exchanges at once. */
#pragma once

#include "dataplane/http/client_codec.h"

extern const struct client_codec h2_client_codec;
