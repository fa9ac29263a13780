/* secret_memory.h — memory for private keys: locked where the system lets us, in no core file, cleared when it is freed.
 *
 * OpenSSL's secure heap is not used: one lock for the whole process, taken in every key exchange, and it fails when it is
 * full.
 * Thread: any. */
#pragma once

#include <stddef.h>

/* NULL: no memory. The bytes are zero. */
void *secret_alloc(size_t size);
void  secret_free(void *block);                      /* NULL is allowed */
/* Overwrites the bytes so that no compiler leaves it out. */
void  secret_clear(void *bytes, size_t size);
