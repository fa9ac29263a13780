/* message.h — rules for messages that hold in every version of HTTP (RFC 9110). A codec applies them to what it has taken
 * off the wire; what a broken rule means is the codec's to say. Pure functions. Thread: any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/http/head.h"

/* Versions as head.version and exchange.log_version have them. */
enum { VERSION_NONE = 0, VERSION_10 = 10, VERSION_11 = 11, VERSION_20 = 20, VERSION_30 = 30 };

/* Visible ASCII but "#", and not empty: what a request target may hold, whatever its form. */
bool message_target_is_valid(struct str target);
/* Sets path, query and has_query from target, which begins with "/". */
void message_split_target(struct head *head);
/* Sets authority, host and port, and gives a Host field that there is the same value. The bytes are ours to change: they
 * become lower-case in place. Returns 0, or -1 for what routing/authority.h refuses. */
int message_set_authority(struct head *head, struct str authority);
/* Digits only, at most INT64_MAX (RFC 9110 section 8.6). Returns 0 or -1. */
int message_parse_length(struct str value, int64_t *ret);
/* te_trailers from the TE fields (RFC 9110 section 10.1.4). */
void message_read_te(struct head *head);
/* expect_continue from the Expect field, of which there is one. Without content there is nothing to wait for. False: an
 * expectation that nobody can meet (RFC 9110 section 10.1.1). */
bool message_read_expect(struct head *head, bool has_content);
/* Leaves out what has no meaning in a trailer section. False: it has fields that would frame or route (fields.h). */
bool message_clean_trailers(struct fields *trailers);
