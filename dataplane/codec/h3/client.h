/* client.h — HTTP/3 towards origins (RFC 9114), over QUIC. Many exchanges at once. */
#pragma once

#include "dataplane/http/client_codec.h"

extern const struct client_codec h3_client_codec;
