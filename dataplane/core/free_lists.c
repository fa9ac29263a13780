#include "dataplane/core/free_lists.h"

#include <stdint.h>
#include <string.h>

#include "common/alloc.h"

/* In front of each piece, and 16 bytes, so that what follows is aligned. */
struct free_piece {
    struct free_piece *next;
    size_t             room;                /* bytes behind it */
};

_Static_assert(sizeof(struct free_piece) % 16 == 0, "pieces are aligned to 16 bytes");

static size_t round_up(size_t size) {
    size_t step = size <= FREE_LISTS_LARGE ? FREE_LISTS_SMALL : FREE_LISTS_LARGE;
    return size ? (size + step - 1) / step * step : step;
}

/* `room` is a rounded size. */
static struct free_piece **list_of(struct free_lists *l, size_t room) {
    enum { SMALL_COUNT = FREE_LISTS_LARGE / FREE_LISTS_SMALL };
    size_t index = room <= FREE_LISTS_LARGE ? room / FREE_LISTS_SMALL - 1 : SMALL_COUNT + room / FREE_LISTS_LARGE - 1;
    return &l->pieces[index];
}

static struct free_piece *piece_of(void *bytes) {
    return (struct free_piece *)bytes - 1;
}

void free_lists_finish(struct free_lists *l) {
    for (size_t i = 0; i < FREE_LISTS_COUNT; i++) {
        for (struct free_piece *p = l->pieces[i], *next; p; p = next) {
            next = p->next;
            hg_free(p);
        }
        l->pieces[i] = NULL;
    }
    l->kept = 0;
}

void *free_lists_alloc(struct free_lists *l, size_t size) {
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t room = size <= FREE_LISTS_MAX ? round_up(size) : size;
    struct free_piece *p = NULL;
    if (room <= FREE_LISTS_MAX && (p = *list_of(l, room))) {
        *list_of(l, room) = p->next;
        l->kept -= room;
        return p + 1;
    }
    if (!(p = hg_malloc(sizeof *p + room)))
        return NULL;
    p->room = room;
    return p + 1;
}

void free_lists_free(struct free_lists *l, void *piece) {
    if (!piece)
        return;
    struct free_piece *p = piece_of(piece);
    if (p->room > FREE_LISTS_MAX || l->kept + p->room > l->keep_max) {
        hg_free(p);
        return;
    }
    struct free_piece **list = list_of(l, p->room);
    p->next = *list;
    *list = p;
    l->kept += p->room;
}

void *free_lists_realloc(struct free_lists *l, void *old, size_t size) {
    if (!old)
        return free_lists_alloc(l, size);
    size_t room = piece_of(old)->room;
    if (size <= room)
        return old;
    void *grown = free_lists_alloc(l, size);
    if (!grown)
        return NULL;
    memcpy(grown, old, room);
    free_lists_free(l, old);
    return grown;
}
