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

/* Without memory for even that there is no error at all. What else is wrong is told when memory is back. */
bool source_lacks_memory(const struct error_list *errors) {
    return errors->count == 0 || errors->items[errors->count - 1].code == ERROR_MEMORY;
}

void source_tell_no_memory(struct source_state *s, const struct source_sink *sink) {
    source_note_failed(s, "no memory");
    sink->no_memory(sink->context);
}
