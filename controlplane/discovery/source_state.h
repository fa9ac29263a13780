/* source_state.h — what all sources note of themselves. For sources alone. Thread: the loop's. */
#pragma once

#include "controlplane/discovery/source.h"

/* When it is asked. */
void source_note_asked(struct source_state *s);
/* When it has said something: that many endpoints. */
void source_note_found(struct source_state *s, size_t endpoints);
/* When it could not; `reason` is kept as far as it fits. */
void source_note_failed(struct source_state *s, const char *reason);

/* Of errors in the place of a set: whether it is memory that was missing. */
bool source_lacks_memory(const struct error_list *errors);
/* Then: notes that, and has the source asked again. */
void source_tell_no_memory(struct source_state *s, const struct source_sink *sink);
