/* io.h — the one BIO of a worker's sessions: reads what stands in io->in, appends to io->out. Thread: the worker's. */
#pragma once

#include "dataplane/tls/library.h"

/* Makes the method and the BIO. 0, or -1 without memory. */
int  tls_bio_init(struct tls_worker *w);
void tls_bio_finish(struct tls_worker *w);
