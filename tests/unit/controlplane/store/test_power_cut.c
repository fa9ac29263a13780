/* A machine that loses power: what was not synced may be lost, kept, or torn, each thing for itself.
 *
 * The script is run once and its steps are written down. Then, for every step, a disk is made up that has
 * what was durable by then and a choice of what was not, and the store in it is opened. The rules are those
 * that file systems promise and no more: fsync of a file makes its bytes durable, fsync of a folder the names
 * in it, syncfs everything; a rename happens whole or not at all. */
#include "tests/unit/controlplane/store/script.h"

/* ---- the record of the steps ---- */

struct event {
    enum disk_op op;
    char path[96], to[96];
    char *bytes;
    size_t size;
    struct acknowledged done; /* before this step */
};

struct recording {
    struct event *events;
    size_t count, capacity;
    const struct acknowledged *done;
};

static int record_step(void *context, struct disk_step *step) {
    struct recording *r = context;
    assert_int_equal(hg_grow(&r->events, &r->capacity, r->count + 1, sizeof *r->events), 0);
    struct event *e = &r->events[r->count++];
    *e = (struct event){.op = step->op, .size = step->bytes.n, .done = *r->done};
    snprintf(e->path, sizeof e->path, "%s", step->path);
    snprintf(e->to, sizeof e->to, "%s", step->to ? step->to : "");
    e->bytes = hg_memdup(step->bytes.p, step->bytes.n);
    return 0;
}

/* ---- the made-up disk ---- */

enum { NAMES_MAX = 512, NODES_MAX = 256 };

struct node {
    bool is_folder;
    struct strbuf bytes;
    size_t durable; /* of the bytes */
};

struct name {
    char path[96];
    struct node *node; /* NULL: was removed */
};

/* A change of names that no sync has covered yet. */
struct change {
    char from[96], to[96]; /* one of them may be empty */
    struct node *node;
    bool is_durable;
};

struct machine {
    struct node nodes[NODES_MAX];
    size_t node_count;
    struct name now[NAMES_MAX], durable[NAMES_MAX];
    size_t now_count, durable_count;
    struct change changes[NAMES_MAX * 2];
    size_t change_count;
};

static struct node **slot(struct name *names, size_t *count, const char *path) {
    for (size_t i = 0; i < *count; i++)
        if (strcmp(names[i].path, path) == 0)
            return &names[i].node;
    assert_true(*count < NAMES_MAX);
    snprintf(names[*count].path, sizeof names[*count].path, "%s", path);
    names[*count].node = NULL;
    return &names[(*count)++].node;
}

static void apply(struct name *names, size_t *count, const struct change *c) {
    if (c->from[0])
        *slot(names, count, c->from) = NULL;
    if (c->to[0])
        *slot(names, count, c->to) = c->node;
}

static void change_names(struct machine *m, const char *from, const char *to, struct node *node) {
    assert_true(m->change_count < NAMES_MAX * 2);
    struct change *c = &m->changes[m->change_count++];
    *c = (struct change){.node = node};
    snprintf(c->from, sizeof c->from, "%s", from);
    snprintf(c->to, sizeof c->to, "%s", to);
    apply(m->now, &m->now_count, c);
}

static bool is_in_folder(const char *path, const char *folder) {
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (!path[0])
        return false;
    return slash ? strlen(folder) == n && memcmp(path, folder, n) == 0 : strcmp(folder, ".") == 0;
}

static void sync_names(struct machine *m, const char *folder) {
    for (size_t i = 0; i < m->change_count; i++) {
        struct change *c = &m->changes[i];
        if (c->is_durable || (folder && !is_in_folder(c->from, folder) && !is_in_folder(c->to, folder)))
            continue;
        c->is_durable = true;
        apply(m->durable, &m->durable_count, c);
    }
}

static struct node *new_node(struct machine *m, bool is_folder) {
    assert_true(m->node_count < NODES_MAX);
    struct node *n = &m->nodes[m->node_count++];
    n->is_folder = is_folder;
    return n;
}

/* Folders need no node each: there is nothing in them but names. */
static struct node a_folder = {.is_folder = true};

static void create_file(struct machine *m, const char *path) {
    struct node *n = *slot(m->now, &m->now_count, path);
    if (n) {
        strbuf_reset(&n->bytes);
        n->durable = 0;
        return;
    }
    change_names(m, "", path, new_node(m, false));
}

static void sync_all(struct machine *m) {
    for (size_t i = 0; i < m->node_count; i++)
        m->nodes[i].durable = m->nodes[i].bytes.n;
    sync_names(m, NULL);
}

static void replay(struct machine *m, const struct event *e) {
    struct node *n = *slot(m->now, &m->now_count, e->path);
    switch (e->op) {
    case DISK_MAKE_FOLDER:
        if (!n)
            change_names(m, "", e->path, &a_folder);
        return;
    case DISK_CREATE: create_file(m, e->path); return;
    case DISK_WRITE: strbuf_add(&n->bytes, e->bytes, e->size); return;
    case DISK_SYNC_FILE: n->durable = n->bytes.n; return;
    case DISK_RENAME: change_names(m, e->path, e->to, n); return;
    case DISK_REMOVE:
        if (n)
            change_names(m, e->path, "", NULL);
        return;
    case DISK_SYNC_FOLDER: sync_names(m, e->path); return;
    case DISK_SYNC_ALL: sync_all(m); return;
    }
}

/* ---- what is left after the cut ---- */

enum fate { ALL_LOST, ALL_KEPT, NAMES_KEPT, BY_CHANCE, FATES = 8 };

static unsigned long random_state;

static unsigned chance(unsigned below) {
    random_state = random_state * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(random_state >> 33) % below;
}

/* How much of the bytes that no sync covered was written: also nothing, or all with zeros in it. */
static size_t surviving_bytes(const struct node *n, unsigned fate, bool *ret_zeros) {
    *ret_zeros = false;
    if (fate == ALL_KEPT || n->durable == n->bytes.n)
        return n->bytes.n;
    if (fate < BY_CHANCE)
        return n->durable;
    *ret_zeros = chance(3) == 0;
    return n->durable + chance((unsigned)(n->bytes.n - n->durable) + 1);
}

static void write_node(const char *path, const struct node *n, unsigned fate) {
    bool zeros;
    size_t size = surviving_bytes(n, fate, &zeros);
    FILE *file = fopen(path, "w");
    if (!file) /* its folder was lost */
        return;
    for (size_t i = 0; i < size; i++)
        fputc(zeros && i >= n->durable ? 0 : n->bytes.p[i], file);
    assert_int_equal(fclose(file), 0);
}

static int by_length(const void *a, const void *b) {
    const struct name *left = a, *right = b;
    size_t l = strlen(left->path), r = strlen(right->path);
    return l < r ? -1 : l > r;
}

/* Writes the folder that the machine finds when it is back. */
static void make_up_disk(const struct machine *m, const char *folder, unsigned fate) {
    static struct name names[NAMES_MAX];
    size_t count = m->durable_count;
    char path[JOINED_PATH];
    memcpy(names, m->durable, count * sizeof *names);
    for (size_t i = 0; i < m->change_count; i++) {
        bool survives = fate == ALL_KEPT || fate == NAMES_KEPT || (fate >= BY_CHANCE && chance(2));
        if (!m->changes[i].is_durable && survives)
            apply(names, &count, &m->changes[i]);
    }
    qsort(names, count, sizeof *names, by_length); /* folders before what is in them */
    assert_int_equal(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < count; i++) {
        join_path(path, folder, names[i].path);
        if (names[i].node && names[i].node->is_folder)
            mkdir(path, 0700);
        else if (names[i].node)
            write_node(path, names[i].node, fate);
    }
}

/* ---- the tests ---- */

struct world {
    char folder[FIXTURE_PATH], path[FIXTURE_PATH + 16];
    struct acknowledged done;
    struct recording recording;
    struct machine *machine;
};

static int set_up(void **state) {
    struct world *w = calloc(1, sizeof *w);
    make_fast_folder(w->folder);
    snprintf(w->path, sizeof w->path, "%s/store", w->folder);
    w->recording.done = &w->done;
    w->machine = calloc(1, sizeof *w->machine);
    disk_set_hook(record_step, &w->recording);
    unsigned failed = script_run(w->path, &w->done);
    disk_set_hook(NULL, NULL);
    assert_int_equal(failed, 0);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    for (size_t i = 0; i < w->machine->node_count; i++)
        strbuf_finish(&w->machine->nodes[i].bytes);
    free(w->machine);
    for (size_t i = 0; i < w->recording.count; i++)
        hg_free(w->recording.events[i].bytes);
    hg_free(w->recording.events);
    remove_tree(w->folder);
    free(w);
    return 0;
}

static void cut_here(struct world *w, size_t at) {
    const struct acknowledged *done = at < w->recording.count ? &w->recording.events[at].done : &w->done;
    for (unsigned fate = 0; fate < FATES; fate++) {
        random_state = at * FATES + fate;
        remove_tree(w->path);
        make_up_disk(w->machine, w->path, fate);
        assert_survived(w->path, done);
    }
}

static void a_power_cut_at_any_step_leaves_the_old_or_the_new(void **state) {
    struct world *w = *state;
    size_t cuts = 0;
    for (size_t at = 0; at <= w->recording.count; at++) {
        cut_here(w, at);
        cuts += FATES;
        if (at < w->recording.count)
            replay(w->machine, &w->recording.events[at]);
    }
    print_message("%zu steps, %zu power cuts\n", w->recording.count, cuts);
}

/* Whether some cut shows a damaged or older store when syncs of this kind are not done. */
static bool is_missed(struct world *w, enum disk_op left_out) {
    memset(w->machine, 0, sizeof *w->machine);
    for (size_t i = 0; i < w->recording.count; i++)
        if (w->recording.events[i].op != left_out)
            replay(w->machine, &w->recording.events[i]);
    remove_tree(w->path);
    make_up_disk(w->machine, w->path, NAMES_KEPT);
    struct error_list errors = {0};
    struct store *s = store_open(w->path, &errors);
    bool bad = !s || store_next_version(s) != SCRIPT_VERSIONS + 1;
    store_close(s);
    remove_tree(w->path);
    make_up_disk(w->machine, w->path, ALL_LOST);
    s = store_open(w->path, &errors);
    bad |= !s || store_next_version(s) != SCRIPT_VERSIONS + 1;
    store_close(s);
    error_list_finish(&errors);
    for (size_t i = 0; i < w->machine->node_count; i++)
        strbuf_finish(&w->machine->nodes[i].bytes);
    return bad;
}

/* The made-up disk must be one on which a store that does not sync is lost: otherwise the test above shows
 * nothing. */
static void a_store_that_does_not_sync_would_be_noticed(void **state) {
    struct world *w = *state;
    assert_true(is_missed(w, DISK_SYNC_FILE));
    assert_true(is_missed(w, DISK_SYNC_FOLDER));
    memset(w->machine, 0, sizeof *w->machine);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_power_cut_at_any_step_leaves_the_old_or_the_new),
        T(a_store_that_does_not_sync_would_be_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
