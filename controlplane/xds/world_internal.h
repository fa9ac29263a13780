/* world_internal.h — what the files of the world share: world.c (life, machines, the order of things), items.c (resources of
 * the server, what is asked for), made.c (what they became), news.c (what the machine says), assignments.c (endpoints),
 * parts.c (resources that are parts of others), values.c (of runtime layers), stream_idle.c (what listeners say of routes),
 * warming.c (what is complete), layer.c (the engine and its answers). */
#pragma once

#include "common/map.h"
#include "controlplane/xds/world.h"

/* One of our resources by name, "cluster/web": who makes it, who refers to it. Lives as long as one of the two. */
struct world_slot {
    size_t             uses;
    Headgate__Kind     kind;
    const char        *name;            /* "web", within key */
    struct world_item *provider;        /* the item whose copies make it; NULL: nothing does */
    size_t             provided;        /* how many of its copies */
    /* The last decision in which it was made, referred to, and referred to by a listener. */
    uint64_t           provided_in, referenced_in, listened_in;
    uint64_t           referrer;        /* the number of what refers to it and was looked at last */
    char               key[];
};

/* A secret whose content is given. Lives as long as something that was made names it. */
struct world_secret {
    size_t   uses;
    uint64_t hash;
    bool     is_given;                  /* the engine has that content */
    char     name[];
};

/* What one copy of a resource became. Counted; immutable. What it needs is asked for as long as it lives. */
struct world_made {
    struct xds_world       *world;
    unsigned                uses;
    uint64_t                number;     /* no other has it */
    uint64_t                hash;       /* of the server's bytes */
    struct config_resource *resources;  /* their names and bytes are in `bytes` */
    char                   *bytes;
    size_t                  resource_count;
    struct world_slot     **provides;   /* as many */
    size_t                  provide_count;
    struct world_item     **needs;
    unsigned char          *awaited;    /* of each need: enum xds_awaited */
    size_t                  need_count, need_capacity, awaited_capacity;
    struct world_slot     **references; /* each once */
    size_t                  reference_count, reference_capacity;
    Headgate__Listener     *listener;   /* decoded; NULL: it is something else */
    struct world_secret   **secrets;
    size_t                  secret_count, secret_capacity;
    bool                    has_keys;   /* private keys, or keys of tickets, stand in the server's bytes */
    bool                    has_parts;  /* resources of this role belong to it, see parts.c */
    enum xds_role           part_role;
    uint64_t                parts_hash; /* of those that were there when it was made; 0: none */
    bool                    is_hollow;  /* there is nothing in it until there are parts */
    bool                    reads_runtime;  /* it goes by values of runtime layers, see values.c */
    uint64_t                runtime_hash;   /* of those that there were when it was made */
    bool                    reads_stream_idle;  /* it goes by what listeners say, see stream_idle.c */
    uint64_t                stream_idle;    /* which was this; of a listener what it says */
    struct strbuf           source;     /* the server's bytes, of what has parts, what is one, and what values are for */
};

enum world_known {
    WORLD_UNKNOWN,                      /* nothing was said of it */
    WORLD_HELD,                         /* there is a copy */
    WORLD_ABSENT,                       /* it does not exist */
    WORLD_FAILING,                      /* there is none that can be used */
};

enum world_warmth { WORLD_WARM, WORLD_WAITING, WORLD_STUCK };

/* One resource of the server, or one that is needed. */
struct world_item {
    enum xds_role       role;
    struct str          name;           /* as the server knows it, with a NUL */
    struct world_item  *next, *previous;/* of the role, in the order of coming */
    struct world_item  *next_touched;
    bool                is_touched;
    enum world_known    known;
    uint64_t            epoch;          /* of the machine that said something of it last */
    struct world_made  *held;           /* of the copy that is valid; NULL: none */
    struct world_made  *used;           /* that the engine uses */
    struct world_made  *pushed;         /* that it is asked to use */
    struct world_made  *judged;         /* of a copy that was judged and may be about to be held */
    struct world_made  *choice;         /* of the decision that is being made */
    enum world_warmth   warmth;         /* of `held`, in that decision */
    uint64_t            included_in;    /* the last decision in which the choice counts */
    uint64_t            changed_at, ticket, pushed_ticket;
    uint64_t            retry_at;       /* not before, since the engine has refused `held`, or that it goes; 0: at once */
    bool                is_gone;        /* the server has it no more */
    bool                is_left_out;    /* a part that does not fit to the others */
    bool                is_stale;       /* to be looked up in the machine */
    uint32_t            refusals;       /* of what is held, one after another */
    size_t              needed;         /* by how much that was made */
    bool                is_fed;         /* the feed wants it, or the options */
    bool                is_subscribed;
    uint64_t            lingers_until;  /* nobody needs it, and it is asked for until then; 0: that is not so */
    struct world_item  *linger_next, *linger_previous;
    struct strbuf       blame;          /* why the engine refuses it */
    const char         *waits_for;      /* for people; NULL: nothing */
    uint64_t            stream_idle;    /* of routes: the longest of the listeners that have them; 0: none has */
    /* Of endpoints. */
    uint64_t            told_hash;      /* of the server's bytes that the feed knows of; 0: none */
    struct world_assignment {
        uint64_t        hash;           /* of the server's bytes */
        bool            is_locality_weighted;
        uint8_t        *bytes;          /* an EndpointSet, packed; NULL: none */
        size_t          size;
    }                   assignment;     /* translated last */
};

struct world_role {
    struct map          by_name;
    struct world_item  *first, *last;
    size_t              number;         /* of the type in machines */
};

enum world_reply { WORLD_NO_REPLY, WORLD_ACCEPTED, WORLD_REFUSED, WORLD_UNANSWERED };

struct xds_world {
    struct xds_world_options  o;
    struct xds_protocol      *p;
    uint64_t                  epoch;        /* of p: how many there have been */
    uint64_t                  now;
    struct world_role         roles[XDS_ROLES];
    struct map                slots, secrets;
    bool                      has_other_parts;  /* than what was made of them */
    struct xds_runtime        runtime;      /* what the runtime layers that there are come to */
    bool                      has_other_values, must_go_by_values;  /* layers changed; what was made goes by others */
    unsigned                  parts_answered;   /* bits of the roles of parts: what another machine had is gone */
    struct world_item        *touched;
    struct world_item        *lingering_first, *lingering_last;     /* in the order of time */
    size_t                    lingering_count;
    bool                      is_dirty;     /* decide anew */
    uint64_t                  look_at;      /* decide anew then, since time has passed */
    uint64_t                  resync_at;    /* look at all of the machine */
    unsigned                  answered, have_answered;  /* on this stream, ever: bits of the roles of which all is wanted */
    bool                      have_all_answered, have_all_ever_answered;
    bool                      is_settled;   /* the server has said all: what it does not have may go */
    uint64_t                  answering_since;  /* when the stream began, or its first answer came */
    uint64_t                  complete_since;   /* all have answered; 0: not yet */
    bool                      has_layer;    /* one was accepted */
    uint64_t                  made;         /* how many copies have become something */
    /* The decision. */
    uint64_t                  decision;     /* how many */
    uint64_t                  ticket;       /* what may be acknowledged with it */
    bool                      holds_back;   /* not the newest response, since something in it may still be used */
    size_t                    waiting;      /* copies that are held and cannot be used yet */
    size_t                    differing;    /* items whose choice is not what is used */
    size_t                    changes;      /* that there are for reasons of their own */
    struct world_item        *suspect;      /* the last of those */
    size_t                    without_effect;   /* the first so many of them alone change nothing */
    /* The layer at the engine. */
    bool                      is_pushing;
    uint64_t                  pushed_epoch, pushed_ticket;
    enum world_reply          reply;
    bool                      is_transient, is_lost;    /* why it was refused */
    struct strbuf             complaint;    /* that is about no resource of ours */
    size_t                    limit;        /* changes in one layer; SIZE_MAX: all */
    unsigned                  failures;     /* in a row, for reasons of the engine's own */
    uint64_t                  retry_at;
    bool                      is_destroyed;
    struct xds_world_counters counters;
};

/* ---- items.c ---- */

struct world_item *world_item_get(struct xds_world *w, enum xds_role role, struct str name); /* NULL without memory */
struct world_item *world_item_find(const struct xds_world *w, enum xds_role role, struct str name);
void               world_item_destroy(struct world_item *it, struct xds_world *w);
/* Looked at before world_follow ends: what is asked for, whether it can go. */
void               world_touch(struct xds_world *w, struct world_item *it);
void               world_sweep(struct xds_world *w);
bool               world_is_root(const struct xds_world *w, enum xds_role role);
/* All of it is looked at again, a while later. */
void               world_resync_later(struct xds_world *w);

/* ---- made.c ---- */

/* Translates. Its secrets are not given yet. NULL with errors. */
struct world_made *world_make(struct xds_world *w, struct world_item *it, struct str bytes, struct error_list *errors);
/* With its parts, each of which holds a copy. */
struct world_made *world_make_with(struct xds_world *w, struct world_item *it, struct str bytes,
                                   struct world_item *const *parts, size_t count, struct error_list *errors);
struct world_made *world_made_use(struct world_made *made); /* NULL is allowed, in all of these */
void               world_made_drop(struct world_made *made);
void               world_made_replace(struct world_made **at, struct world_made *made); /* takes the use of `made` */
/* Until the next call, in constant time: whether it refers to the slot. NULL refers to nothing. */
void               world_made_mark(const struct world_made *made);
bool               world_made_refers(const struct world_made *made, const struct world_slot *slot);
/* Gives the secrets of the bytes. 0, or -1 with errors. */
int                world_give_secrets(struct xds_world *w, struct world_item *it, struct str bytes,
                                      struct error_list *errors);
bool               world_has_secrets(const struct world_made *made);   /* all of them are given */
void               world_describe(const struct error_list *errors, struct strbuf *out);
bool               world_lacks_memory(const struct error_list *errors);

/* ---- parts.c ---- */

/* Whether resources of the role are asked for all together, by a need named "*", and are parts of what needs them. */
bool world_is_part(enum xds_role role);
/* Makes anew what has other parts than before. Returns whether something was refused: there are news then. */
bool world_compose(struct xds_world *w);
/* What was wanted of this role is not any more. */
void world_drop_parts(struct xds_world *w, enum xds_role role);
/* What another machine had and this one has not mentioned goes, once it has answered. */
void world_settle_parts(struct xds_world *w);

/* ---- values.c ---- */

/* Whether what was made goes by the present values, or by none. */
bool world_goes_by_values(const struct xds_world *w, const struct world_made *made);
/* Takes in the layers that are there from the beginning. 0, or -1 without memory. */
int  world_begin_values(struct xds_world *w);
/* Takes in layers that have changed, and makes anew what goes by them. What has parts is left to world_compose. */
void world_follow_values(struct xds_world *w);
/* Whether something would be made with defaults though its values may still come. */
bool world_lacks_values(const struct xds_world *w);

/* ---- stream_idle.c ---- */

/* Whether making it again would give the same: it goes by the present values and by what listeners say now, or by none. */
bool world_is_current(const struct xds_world *w, const struct world_item *it, const struct world_made *made);
/* Makes anew the routes of which listeners say something else. Returns whether there were any. */
bool world_follow_listeners(struct xds_world *w);

/* ---- news.c, assignments.c ---- */

void world_take_news(struct xds_world *w);
void world_take_known(struct xds_world *w, struct world_item *it);     /* of one that is asked for */
void world_resync(struct xds_world *w);
/* The engine refuses it, with the reason. */
void world_refuse(struct xds_world *w, struct world_item *it, uint64_t ticket, struct str reason);

/* 0, or -1 with errors. */
int              world_judge_endpoints(struct xds_world *w, struct world_item *it, struct str bytes,
                                       struct error_list *errors);
void             world_take_endpoints(struct xds_world *w, struct world_item *it, const struct xds_resource *r);
void             world_forget_endpoints(struct world_item *it);
void             world_serve_feed(struct xds_world *w);

/* ---- warming.c ---- */

/* Chooses a copy for each item, within the limit of changes. */
void world_decide(struct xds_world *w);
/* Decide anew at that time. */
void world_look_at(struct xds_world *w, uint64_t at);

/* ---- layer.c ---- */

/* Gives what was decided to the engine. */
void world_push(struct xds_world *w);
void world_take_reply(struct xds_world *w);
