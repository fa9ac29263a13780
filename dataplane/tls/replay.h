/* replay.h — 0-RTT is taken once (RFC 8446 section 8.2): the ClientHellos whose early data was taken of late, of all
 * workers.
 *
 * A ClientHello is known by its random bytes, which its binder covers. OpenSSL refuses early data whose ticket says another
 * age than it has, by more than ten seconds; so what is older than REPLAY_WINDOW cannot come again, and need not be kept.
 * The table is of a fixed size: where it is full, early data is refused, which costs its client a round trip. So it is for
 * as long after the start of a process, which does not know what the one before had taken. Other machines know nothing of
 * it: what is sent early must bear to be repeated in any case (the rules of http). Thread: any. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"

enum { REPLAY_SLOTS = 65536, REPLAY_BUCKET = 8 };
#define REPLAY_WINDOW 12000000ULL                          /* microseconds */

/* Of the process, before its workers. Nothing is taken before `now` + REPLAY_WINDOW; times are monotonic microseconds. */
void tls_replay_begin(uint64_t now);
/* True: this is the first time, and it is noted. False: it may have been seen, or there is no room. */
bool tls_replay_is_first(struct str random, uint64_t now);
