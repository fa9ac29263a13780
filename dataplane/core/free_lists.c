#include "dataplane/core/free_lists.h"

#include <stdint.h>
#include <string.h>

#include "common/alloc.h"

/* In front of each piece, and 16 bytes, so that what follows is aligned. */
struct free_piece {
    union {
        struct free_piece *next;            /* while it is free */
        size_t             list;            /* while it is in use: where it goes then */
    };
    size_t room;                            /* bytes behind it */
};

_Static_assert(sizeof(struct free_piece) % 16 == 0, "pieces are aligned to 16 bytes");

enum { SMALL_COUNT = FREE_LISTS_LARGE / FREE_LISTS_SMALL };
enum { TO_RESERVE = FREE_LISTS_COUNT, TO_HEAP }; /* further values of `list` */

/* Of a size up to FREE_LISTS_MAX. */
static size_t list_of(size_t size) {
    size_t last = size ? size - 1 : 0;
    if (last < FREE_LISTS_LARGE)
        return last / FREE_LISTS_SMALL;
    unsigned doublings = (unsigned)(__builtin_clzl(FREE_LISTS_LARGE) - __builtin_clzl(last));
    if (doublings > FREE_LISTS_DOUBLINGS)
        doublings = FREE_LISTS_DOUBLINGS;
    size_t step = (FREE_LISTS_LARGE / FREE_LISTS_STEPS) << doublings;
    return SMALL_COUNT + doublings * FREE_LISTS_STEPS + last / step - FREE_LISTS_STEPS;
}

static size_t room_in(size_t list) {
    if (list < SMALL_COUNT)
        return (list + 1) * FREE_LISTS_SMALL;
    size_t large = list - SMALL_COUNT, doublings = large / FREE_LISTS_STEPS;
    if (doublings > FREE_LISTS_DOUBLINGS)
        doublings = FREE_LISTS_DOUBLINGS;
    size_t step = (FREE_LISTS_LARGE / FREE_LISTS_STEPS) << doublings;
    return (large - doublings * FREE_LISTS_STEPS + FREE_LISTS_STEPS + 1) * step;
}

static void push(struct free_piece **list, struct free_piece *p) {
    p->next = *list;
    *list = p;
}

static struct free_piece *piece_of(void *bytes) {
    return (struct free_piece *)bytes - 1;
}

static struct free_piece *piece_new(size_t list, size_t room) {
    struct free_piece *p = room <= SIZE_MAX / 2 ? hg_malloc(sizeof *p + room) : NULL;
    if (p)
        *p = (struct free_piece){.list = list, .room = room};
    return p;
}

int free_lists_init(struct free_lists *l, size_t keep_max) {
    *l = (struct free_lists){.keep_max = keep_max};
    for (int i = 0; i < FREE_LISTS_RESERVED; i++) {
        struct free_piece *p = piece_new(TO_RESERVE, FREE_LISTS_RESERVE);
        if (!p) {
            free_lists_finish(l);
            return -1;
        }
        push(&l->reserve, p);
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

static void *alloc_from_heap(size_t list, size_t room) {
    struct free_piece *p = piece_new(list, room);
    return p ? p + 1 : NULL;
}

/* NULL: there is none. */
static void *pop(struct free_lists *l, size_t list) {
    struct free_piece *p = l->pieces[list];
    if (!p)
        return NULL;
    l->pieces[list] = p->next;
    l->kept -= p->room;
    p->list = list;
    return p + 1;
}

void *free_lists_take(struct free_lists *l, size_t size) {
    size_t last = size - 1;
    return last < FREE_LISTS_LARGE ? pop(l, last / FREE_LISTS_SMALL) : NULL;
}

void *free_lists_alloc(struct free_lists *l, size_t size) {
    if (size > FREE_LISTS_MAX)
        return alloc_from_heap(TO_HEAP, size);
    size_t list = list_of(size);
    void *piece = pop(l, list);
    return piece ? piece : alloc_from_heap(list, room_in(list));
}

size_t free_lists_room(void *piece) {
    return piece_of(piece)->room;
}

void *free_lists_alloc_reserved(struct free_lists *l, size_t size) {
    struct free_piece *p = l->reserve;
    if (!p || size > FREE_LISTS_RESERVE)
        return NULL;
    l->reserve = p->next;
    p->list = TO_RESERVE;
    return p + 1;
}

void free_lists_free(struct free_lists *l, void *piece) {
    struct free_piece *p = piece ? piece_of(piece) : NULL;
    if (!p)
        return;
    if (p->list < FREE_LISTS_COUNT && l->kept + p->room <= l->keep_max) {
        l->kept += p->room;
        push(&l->pieces[p->list], p);
    } else if (p->list == TO_RESERVE) {
        push(&l->reserve, p);
    } else {
        hg_free(p);
    }
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
