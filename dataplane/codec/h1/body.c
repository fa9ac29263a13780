#include "dataplane/codec/h1/body.h"

#include "common/alloc.h"
#include "dataplane/codec/h1/writer.h"

/* ---- reading ---- */

int h1_body_reader_init(struct h1_body_reader *r, enum h1_framing framing, uint64_t length, const struct h1_limits *limits,
                        struct arena *arena) {
    *r = (struct h1_body_reader){.framing = framing, .left = length, .is_done = framing == H1_BODY_NONE};
    if (framing != H1_BODY_CHUNKED)
        return 0;
    r->chunked = arena_alloc(arena, sizeof *r->chunked);
    if (!r->chunked)
        return -1;
    chunked_init(r->chunked, limits, arena);
    return 0;
}

static void deliver_copies(struct leg *leg, struct worker *w, const uint8_t *bytes, size_t n) {
    struct slice_queue copies = {0};
    struct slice *s;
    if (slice_queue_copy(&copies, &w->pool, bytes, n) < 0) {
        exchange_on_abort(leg, ABORT_MEMORY);
        return;
    }
    while (leg->exchange && (s = slice_queue_pop(&copies)))
        exchange_on_body(leg, s);
    slice_queue_clear(&copies, &w->pool);
}

/* False: the exchange has ended. */
static bool deliver(struct leg *leg, struct worker *w, const uint8_t *bytes, size_t n, bool is_hot) {
    struct slice *s = is_hot ? slice_borrow(&w->pool, bytes, n) : NULL;
    if (s)
        exchange_on_body(leg, s);
    else if (is_hot)
        exchange_on_abort(leg, ABORT_MEMORY);
    else
        deliver_copies(leg, w, bytes, n);
    return leg->exchange != NULL;
}

static enum h1_body_result end_body(struct h1_body_reader *r, struct leg *leg, struct fields *trailers) {
    r->is_done = true;
    exchange_on_end(leg, trailers);
    return H1_READ_END;
}

static enum h1_body_result read_plain(struct h1_body_reader *r, struct leg *leg, struct worker *w, const uint8_t *bytes,
                                      size_t n, bool is_hot, size_t *ret_used) {
    uint64_t credit = exchange_credit(leg), most = n < credit ? n : credit;
    bool has_length = r->framing == H1_BODY_LENGTH;
    if (has_length && most > r->left)
        most = r->left;
    *ret_used = most;
    r->bytes += most;
    if (has_length)
        r->left -= most;
    if (most && !deliver(leg, w, bytes, most, is_hot))
        return H1_READ_GONE;
    return has_length && r->left == 0 ? end_body(r, leg, NULL) : H1_READ_MORE;
}

static enum h1_body_result read_chunks(struct h1_body_reader *r, struct leg *leg, struct worker *w, const uint8_t *bytes,
                                       size_t n, bool is_hot, size_t *ret_used, enum h1_error *ret_error) {
    size_t used = 0, taken;
    struct str data;
    for (;;) {
        uint64_t credit = exchange_credit(leg);
        size_t room = n - used;
        if (credit == 0 && r->chunked->state == CHUNKED_IN_DATA)
            room = 0;
        else if (room > credit && credit > 0)
            room = credit;
        else if (credit == 0 && room > 1)
            room = 1; /* framing only: no data span can come of it unless it is the first data byte */
        enum chunked_event event = chunked_next(r->chunked, (const char *)bytes + used, room, &taken, &data);
        used += taken;
        *ret_used = used;
        if (event == CHUNKED_EVENT_DATA) {
            r->bytes += data.n;
            if (!deliver(leg, w, (const uint8_t *)data.p, data.n, is_hot))
                return H1_READ_GONE;
        } else if (event == CHUNKED_EVENT_END) {
            return end_body(r, leg, r->chunked->trailers.count ? &r->chunked->trailers : NULL);
        } else if (event == CHUNKED_EVENT_ERROR) {
            *ret_error = r->chunked->error;
            return H1_READ_ERROR;
        } else if (taken == 0 || used == n) {
            return H1_READ_MORE;
        }
    }
}

enum h1_body_result h1_body_read(struct h1_body_reader *r, struct leg *leg, struct worker *w, const uint8_t *bytes, size_t n,
                                 bool is_hot, size_t *ret_used, enum h1_error *ret_error) {
    *ret_used = 0;
    if (r->framing == H1_BODY_CHUNKED)
        return read_chunks(r, leg, w, bytes, n, is_hot, ret_used, ret_error);
    return read_plain(r, leg, w, bytes, n, is_hot, ret_used);
}

/* ---- writing ---- */

enum h1_framing h1_frame_response(struct head *head, bool is_head_request, bool is_old, bool ends) {
    head->chunked = false;
    if (head->status == 101)
        return H1_BODY_TUNNEL;
    if (is_head_request || head->status == 204 || head->status == 304)
        return H1_BODY_NONE;
    if (head->content_length < 0 && ends)
        head->content_length = 0;
    if (head->content_length >= 0)
        return head->content_length ? H1_BODY_LENGTH : H1_BODY_NONE;
    if (is_old)
        return H1_BODY_UNTIL_CLOSE;
    head->chunked = true;
    return H1_BODY_CHUNKED;
}

static enum h1_write_result finish(struct h1_body_writer *w, struct leg *leg, struct fields *trailers, struct gather *g) {
    (void)leg;
    w->is_done = true;
    if (w->framing == H1_BODY_LENGTH && w->left)
        return H1_WRITE_BROKEN;
    if (w->framing != H1_BODY_CHUNKED)
        return H1_WRITE_END;
    size_t n = h1_write_trailers(trailers, NULL, 0);
    char *room = (char *)gather_room(g, n + 3);
    if (!room)
        return H1_WRITE_BROKEN; /* trailers beyond all limits */
    memcpy(room, "0\r\n", 3);
    h1_write_trailers(trailers, room + 3, n);
    gather_wrote(g, n + 3);
    return H1_WRITE_END;
}

static bool add_slice(struct h1_body_writer *w, struct slice *s, struct gather *g) {
    char line[CHUNK_SIZE_LINE_MAX];
    if (w->framing != H1_BODY_CHUNKED)
        return gather_slice(g, s);
    gather_bytes(g, line, chunked_write_size(s->n, line));
    return gather_slice(g, s) && gather_bytes(g, "\r\n", 2);
}

enum h1_write_result h1_body_write(struct h1_body_writer *w, struct leg *leg, struct gather *g) {
    while (!gather_is_full(g)) {
        struct slice *s;
        struct fields *trailers = exchange_trailers(leg);
        if (trailers && g->bytes && !gather_room(g, h1_write_trailers(trailers, NULL, 0) + 8))
            return H1_WRITE_FULL; /* the end is written with them, so they need room first */
        switch (exchange_pull(leg, BLOCK_SIZE * 8, &s)) {
        case PULL_WAIT:
        case PULL_ROOM: return H1_WRITE_WAIT;
        case PULL_END: return finish(w, leg, trailers, g);
        case PULL_ABORT: return H1_WRITE_BROKEN;
        case PULL_DATA: break;
        }
        size_t n = s->n;
        bool is_too_long = w->framing == H1_BODY_NONE || (w->framing == H1_BODY_LENGTH && n > w->left);
        if (is_too_long || !add_slice(w, s, g)) {
            slice_free(g->pool, s);
            return H1_WRITE_BROKEN;
        }
        if (w->framing == H1_BODY_LENGTH)
            w->left -= n;
    }
    return H1_WRITE_FULL;
}

/* ---- input kept ---- */

int h1_input_add(struct h1_input *in, const void *bytes, size_t n) {
    if (hg_grow(&in->p, &in->capacity, in->n + n, 1) < 0)
        return -1;
    memcpy(in->p + in->n, bytes, n);
    in->n += n;
    return 0;
}

void h1_input_drop(struct h1_input *in, size_t n) {
    in->n -= n;
    if (in->n == 0)
        h1_input_finish(in);
    else if (n)
        memmove(in->p, in->p + n, in->n);
}

void h1_input_finish(struct h1_input *in) {
    hg_free(in->p);
    *in = (struct h1_input){0};
}
