#include "controlplane/discovery/source_state.h"

#include <stdio.h>

#include "common/clock.h"

void source_note_asked(struct source_state *s) {
    s->asked_at = clock_realtime_us();
    s->asked++;
}

void source_note_found(struct source_state *s, size_t endpoints) {
    s->found_at = clock_realtime_us();
    s->endpoints = (uint32_t)endpoints;
    s->failure[0] = '\0';
}

void source_note_failed(struct source_state *s, const char *reason) {
    s->failed_at = clock_realtime_us();
    s->failures++;
    snprintf(s->failure, sizeof s->failure, "%s", reason);
}
