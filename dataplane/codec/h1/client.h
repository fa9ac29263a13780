/* client.h — HTTP/1.1 towards origins (RFC 9112): one exchange at a time, no pipelining. */
#pragma once

#include "dataplane/http/client_codec.h"

extern const struct client_codec h1_client_codec;
