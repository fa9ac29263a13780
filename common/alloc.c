#include "common/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t allocations;
static _Atomic long fail_countdown = -1;
static _Atomic int fail_all_later;

static int should_fail(void) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0)
        return 0;
    long left = atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed);
    if (left != 0)
        return 0;
    if (atomic_load_explicit(&fail_all_later, memory_order_relaxed))
        atomic_store_explicit(&fail_countdown, 0, memory_order_relaxed);
    return 1;
}

void *hg_malloc(size_t size) {
    return should_fail() ? NULL : malloc(size ? size : 1);
}

void *hg_calloc(size_t count, size_t size) {
    size_t bytes;
    if (should_fail() || __builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *hg_realloc(void *old, size_t size) {
    return should_fail() ? NULL : realloc(old, size ? size : 1);
}

void *hg_memdup(const void *bytes, size_t size) {
    void *copy = hg_malloc(size);
    if (copy && size)
        memcpy(copy, bytes, size);
    return copy;
}

char *hg_strndup(const char *text, size_t size) {
    char *copy = hg_malloc(size + 1);
    if (!copy)
        return NULL;
    if (size)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

char *hg_strdup(const char *text) {
    return hg_strndup(text, strlen(text));
}

void hg_free(void *block) {
    free(block);
}

int hg_grow(void *items, size_t *capacity, size_t need, size_t element_size) {
    if (need <= *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity : 8;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2)
            return -1;
        wanted *= 2;
    }
    size_t bytes;
    if (__builtin_mul_overflow(wanted, element_size, &bytes))
        return -1;
    void *old, *grown;
    memcpy(&old, items, sizeof old);
    grown = hg_realloc(old, bytes);
    if (!grown)
        return -1;
    memcpy(items, &grown, sizeof grown);
    *capacity = wanted;
    return 0;
}

void hg_alloc_fail_at(long nth, int and_all_later) {
    atomic_store(&fail_all_later, and_all_later);
    atomic_store(&fail_countdown, nth < 0 ? -1 : nth);
}

uint64_t hg_alloc_count(void) {
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}
