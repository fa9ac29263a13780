/* metrics.h — what the admin listener of the control plane answers. Thread: the loop's. */
#pragma once

#include "common/admin_http.h"
#include "controlplane/admin/service.h"

/* `context` of the listener; what is answered never grows with the configuration or the number of data planes. */
struct metrics_source {
    struct admin *admin;
    bool is_started;                /* listening for data planes and the admin service */
    bool is_stopping;
};

/* For struct admin_http_config. */
void metrics_answer(void *metrics_source, struct str path, struct admin_http_answer *answer);
