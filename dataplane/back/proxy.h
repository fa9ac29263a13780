/* proxy.h — the terminal that forwards requests to the endpoints of clusters, with retries. Thread: the worker's. */
#pragma once

#include "dataplane/http/exchange.h"

extern const struct terminal_ops proxy_terminal;

void proxy_init(void);   /* once per process, before the first exchange */
