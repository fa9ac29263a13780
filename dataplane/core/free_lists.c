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

/* The room of reserved pieces is none that rounding gives, so a piece tells where it belongs. */
_Static_assert((int)FREE_LISTS_RESERVE > (int)FREE_LISTS_LARGE && (int)FREE_LISTS_RESERVE % (int)FREE_LISTS_LARGE != 0,
               "reserved pieces can be told apart");

int free_lists_init(struct free_lists *l, size_t keep_max) {
    *l = (struct free_lists){.keep_max = keep_max};
    for (int i = 0; i < FREE_LISTS_RESERVED; i++) {
        struct free_piece *p = hg_malloc(sizeof *p + FREE_LISTS_RESERVE);
        if (!p) {
            free_lists_finish(l);
            return -1;
        }
        *p = (struct free_piece){.next = l->reserve, .room = FREE_LISTS_RESERVE};
        l->reserve = p;
    }
    return 0;
}

static void free_list(struct free_piece **list) {
    struct free_piece *p;
    while ((p = *list)) {
        *list = p->next;
        hg_free(p);
    }
}

void free_lists_finish(struct free_lists *l) {
    for (size_t i = 0; i < FREE_LISTS_COUNT; i++)
        free_list(&l->pieces[i]);
    free_list(&l->reserve);
    l->kept = 0;
}

static void *alloc_any(struct free_lists *l, size_t size) {
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

/* Nearly all are small, and there. */
void *free_lists_alloc(struct free_lists *l, size_t size) {
    if (size - 1 >= FREE_LISTS_LARGE)
        return alloc_any(l, size);
    struct free_piece **list = &l->pieces[(size - 1) / FREE_LISTS_SMALL], *p = *list;
    if (!p)
        return alloc_any(l, size);
    *list = p->next;
    l->kept -= p->room;
    return p + 1;
}

size_t free_lists_room(void *piece) {
    return piece_of(piece)->room;
}

void *free_lists_alloc_reserved(struct free_lists *l, size_t size) {
    struct free_piece *p = l->reserve;
    if (!p || size > FREE_LISTS_RESERVE)
        return NULL;
    l->reserve = p->next;
    return p + 1;
}

void free_lists_free(struct free_lists *l, void *piece) {
    if (!piece)
        return;
    struct free_piece *p = piece_of(piece);
    if (p->room <= FREE_LISTS_LARGE && l->kept + p->room <= l->keep_max) {
        struct free_piece **list = &l->pieces[p->room / FREE_LISTS_SMALL - 1];
        p->next = *list;
        *list = p;
        l->kept += p->room;
        return;
    }
    if (p->room == FREE_LISTS_RESERVE) {
        p->next = l->reserve;
        l->reserve = p;
        return;
    }
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
