/* alloc.h — heap allocation that a test can make fail.
 *
 * Every heap allocation of our own code goes through these functions. Each returns NULL when memory is short,
 * and the caller treats that as an ordinary error. Thread: any. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void *hg_malloc(size_t size);
void *hg_calloc(size_t count, size_t size);          /* checks count * size for overflow */
void *hg_realloc(void *old, size_t size);            /* on NULL the old block is still the caller's */
void *hg_memdup(const void *bytes, size_t size);
char *hg_strdup(const char *text);
char *hg_strndup(const char *text, size_t size);     /* copies exactly size bytes and adds a NUL */
void  hg_free(void *block);                          /* NULL is allowed */

/* Grows an array so that it holds at least `need` elements: doubles from 8. Returns 0, or -1 and leaves all
 * as it was. `items` is the address of the array pointer, `capacity` counts elements. */
int   hg_grow(void *items, size_t *capacity, size_t need, size_t element_size);

/* Fault injection for tests, process-wide: the allocation number `nth` from now (0 is the next) returns NULL,
 * and so does every later one when `and_all_later` is set. A negative number switches it off. */
void     hg_alloc_fail_at(long nth, int and_all_later);
/* Allocations asked for since the process began; a difference of two readings is the number between them. */
uint64_t hg_alloc_count(void);
