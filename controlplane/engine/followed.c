#include "controlplane/engine/followed.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/secret_memory.h"
#include "controlplane/engine/internal.h"

enum { PROBLEM_MAX = 400 };

/* One name that resources have for a Secret, or for a file in it. */
struct followed {
    struct followed  *next;
    struct engine    *engine;
    struct reflector *reflector;
    char             *name;             /* "kubernetes:shop/web-tls" */
    struct config_kubernetes_secret at; /* borrows from the name */
    bool is_wanted;
    bool is_there;                      /* in the list that comes */
    bool is_known;                      /* a list was whole: there is nothing to wait for */
    char fault[PROBLEM_MAX];            /* of what is there; empty: none */
    char failure[PROBLEM_MAX];          /* of the API server */
};

/* ---- problems ---- */

/* NULL: all is well. */
static const char *problem_of(const struct followed *f) {
    return f->failure[0] ? f->failure : f->fault[0] ? f->fault : NULL;
}

static void list_problems(struct engine *e) {
    char resource[RESOURCE_NAME_MAX + 16];
    error_list_finish(&e->followed.problems);
    e->followed.problems = (struct error_list){0};
    for (const struct followed *f = e->followed.first; f; f = f->next) {
        if (!problem_of(f))
            continue;
        struct error *error = error_addf(&e->followed.problems, ERROR_IO, "%s: %s", f->name, problem_of(f));
        snprintf(resource, sizeof resource, "secret/%s", f->name);
        error_set_resource(&e->followed.problems, error, resource, NULL);
    }
}

/* `text` is f->fault or f->failure; NULL: all is well. */
static void note(struct followed *f, char text[PROBLEM_MAX], const char *problem) {
    bool is_new = problem && strncmp(text, problem, PROBLEM_MAX - 1) != 0;
    snprintf(text, PROBLEM_MAX, "%s", problem ? problem : "");
    if (is_new)
        log_warning("Secrets of Kubernetes", LOG_S("secret", f->name), LOG_S("problem", text));
    list_problems(f->engine);
}

/* ---- what is in a Secret ---- */

/* Of secret memory, which the caller frees; what was read is cleared. NULL: it is not there, or no base64. */
static uint8_t *decode(const cJSON *object, const char *key, struct str *ret) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, "data"), key);
    size_t n = cJSON_IsString(item) ? strlen(item->valuestring) : 0, padding = 0;
    while (padding < 2 && padding < n && item->valuestring[n - 1 - padding] == '=')
        padding++;
    uint8_t *bytes = n && n <= INT_MAX / 2 ? secret_alloc(n) : NULL;
    int length = bytes ? EVP_DecodeBlock(bytes, (const unsigned char *)item->valuestring, (int)n) : -1;
    if (n)
        secret_clear(item->valuestring, n);
    if (length < (int)padding) {
        secret_free(bytes);
        return NULL;
    }
    *ret = (struct str){(const char *)bytes, (size_t)length - padding};
    return bytes;
}

static void give(struct followed *f, const struct given_secret *content) {
    struct error_list errors = {0};
    int status = engine_set_given_secret(f->engine, f->name, content, &errors);
    note(f, f->fault, status < 0 ? errors.count ? errors.items[0].message : "no memory" : NULL);
    error_list_finish(&errors);
}

static void take_pair(struct followed *f, const cJSON *object) {
    struct given_secret content = {.what = CONFIG_SECRET_KEY_PAIR};
    uint8_t *certificate = decode(object, "tls.crt", &content.certificate), *key = decode(object, "tls.key", &content.key);
    if (certificate && key)
        give(f, &content);
    else
        note(f, f->fault, "the Secret has no tls.crt and tls.key that can be read");
    secret_free(certificate);
    secret_free(key);
}

static void take_trust(struct followed *f, const cJSON *object) {
    struct given_secret content = {.what = CONFIG_SECRET_TRUST};
    const char *key = f->at.key.p; /* the end of the name */
    uint8_t *certificates = decode(object, key, &content.certificate);
    char problem[PROBLEM_MAX];
    snprintf(problem, sizeof problem, "the Secret has no %.200s that can be read", key);
    if (certificates)
        give(f, &content);
    else
        note(f, f->fault, problem);
    secret_free(certificates);
}

/* ---- what the API server says ---- */

/* Outside of the functions of reflectors, which the end of a push may destroy. */
static void hurry(struct engine *e) {
    if (!ev_is_active(&e->followed.waiting))
        return;
    ev_timer_stop(e->config.loop, &e->followed.waiting);
    ev_timer_set(&e->followed.waiting, 0., 0.);
    ev_timer_start(e->config.loop, &e->followed.waiting);
}

static void on_list(void *context) {
    ((struct followed *)context)->is_there = false;
}

static bool on_set(void *context, const cJSON *object) {
    struct followed *f = context;
    f->is_there = true;
    if (f->at.key.n)
        take_trust(f, object);
    else
        take_pair(f, object);
    return true;
}

static void on_removed(void *context, const cJSON *object) {
    struct followed *f = context;
    (void)object;
    note(f, f->fault, "the Secret has been deleted; what was in it is still used");
}

static bool are_all_known(const struct engine *e) {
    const struct followed *f = e->followed.first;
    while (f && f->is_known)
        f = f->next;
    return !f;
}

static void on_listed(void *context) {
    struct followed *f = context;
    if (!f->is_there)
        note(f, f->fault, "there is no such Secret");
    f->is_known = true;
    if (are_all_known(f->engine))
        hurry(f->engine);
}

static void on_watching(void *context) {
    struct followed *f = context;
    note(f, f->failure, NULL);
}

static void on_failed(void *context, const char *reason) {
    struct followed *f = context;
    note(f, f->failure, reason);
}

static const struct reflector_ops ops = {
    .list = on_list, .set = on_set, .removed = on_removed, .listed = on_listed, .watching = on_watching, .failed = on_failed,
};

/* ---- who is followed ---- */

static void destroy(struct followed *f) {
    reflector_destroy(f->reflector);
    hg_free(f->name);
    hg_free(f);
}

/* NULL without memory. */
static struct followed *create(struct engine *e, const char *name) {
    struct followed *f = hg_calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->engine = e;
    f->name = hg_strdup(name);
    if (f->name && config_kubernetes_secret(str_of(f->name), &f->at))
        f->reflector = kubernetes_watch_secret(e->config.kubernetes, f->at.namespace, f->at.name, &ops, f);
    if (f->reflector)
        return f;
    destroy(f);
    return NULL;
}

static struct followed *find(const struct engine *e, const char *name) {
    struct followed *f = e->followed.first;
    while (f && strcmp(f->name, name) != 0)
        f = f->next;
    return f;
}

static bool is_of_kubernetes(const struct config_secret *s) {
    return s->is_given && str_starts(str_of(s->name), str_of(CONFIG_KUBERNETES));
}

static bool is_given(const struct engine *e, const char *name) {
    return e->secrets.given && part_find(e->secrets.given, HEADGATE__KIND__KIND_SECRET, name) >= 0;
}

/* Follows what is named and was not. Without memory it is not followed. */
static void follow(struct engine *e, const struct config_secrets *want) {
    for (size_t i = 0; e->config.kubernetes && i < want->count; i++) {
        const struct config_secret *s = &want->items[i];
        struct followed *f = is_of_kubernetes(s) ? find(e, s->name) : NULL;
        if (is_of_kubernetes(s) && !f && (f = create(e, s->name))) {
            f->next = e->followed.first;
            e->followed.first = f;
        }
        if (f)
            f->is_wanted = true;
    }
}

static void drop_unwanted(struct engine *e) {
    struct error_list ignored = {0};
    for (struct followed **place = &e->followed.first, *f; (f = *place);) {
        if (f->is_wanted) {
            place = &f->next;
            continue;
        }
        *place = f->next;
        reflector_count(f->reflector, &e->followed.gone);
        engine_set_given_secret(e, f->name, NULL, &ignored);
        destroy(f);
    }
    error_list_finish(&ignored);
}

void followed_settle(struct engine *e) {
    const struct snapshot *current = channel_current(e->channel);
    struct config_secrets want = {0};
    struct config_resources set = {0};
    struct error_list errors = {0};
    if (!e->config.kubernetes || (!e->followed.first && e->followed.is_settled))
        return;
    for (struct followed *f = e->followed.first; f; f = f->next)
        f->is_wanted = false;
    int status = !current ? 0 : part_resources(current->intent, &set);
    if (status == 0 && config_secrets_collect(&set, &want, &errors) == 0) {
        follow(e, &want);
        drop_unwanted(e);
        list_problems(e);
        e->followed.is_settled = true;
    }
    config_secrets_finish(&want);
    hg_free(set.items);
    error_list_finish(&errors);
}

void followed_count(const struct engine *e, struct reflector_counters *sum) {
    reflector_counters_add(sum, &e->followed.gone);
    for (const struct followed *f = e->followed.first; f; f = f->next)
        reflector_count(f->reflector, sum);
}

/* ---- pushes ---- */

bool followed_wait(struct engine *e, const struct config_secrets *want) {
    bool waits = false;
    if (!e->config.kubernetes)
        return false;
    follow(e, want);
    for (size_t i = 0; i < want->count; i++) {
        const struct followed *f = is_of_kubernetes(&want->items[i]) ? find(e, want->items[i].name) : NULL;
        waits |= f && !f->is_known && !is_given(e, f->name);
    }
    if (!waits)
        return false;
    ev_timer_set(&e->followed.waiting, FOLLOWED_PATIENCE, 0.);
    ev_timer_start(e->config.loop, &e->followed.waiting);
    return true;
}

int followed_check(const struct engine *e, const struct config_secrets *want, struct error_list *errors) {
    int status = 0;
    for (size_t i = 0; i < want->count; i++) {
        const struct config_secret *s = &want->items[i];
        const struct followed *f = is_of_kubernetes(s) ? find(e, s->name) : NULL;
        if (!is_of_kubernetes(s) || is_given(e, s->name))
            continue;
        const char *reason = !e->config.kubernetes   ? "no API server is known: --kubernetes-server names one"
                             : f && problem_of(f) ? problem_of(f)
                                                  : "the API server has not answered in time";
        struct error *error = error_addf(errors, ERROR_STATE, "%s: %s", s->name, reason); /* it may come */
        error_set_resource(errors, error, s->resource, s->path);
        status = -1;
    }
    return status;
}

static void on_waited(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    push_job_go_on(timer->data);
}

const struct error_list *engine_followed_problems(const struct engine *e) {
    return &e->followed.problems;
}

/* ---- life ---- */

void followed_init(struct engine *e) {
    ev_timer_init(&e->followed.waiting, on_waited, 0., 0.);
    e->followed.waiting.data = e;
}

void followed_finish(struct engine *e) {
    ev_timer_stop(e->config.loop, &e->followed.waiting);
    for (struct followed *f = e->followed.first, *next; f; f = next) {
        next = f->next;
        destroy(f);
    }
    error_list_finish(&e->followed.problems);
}
