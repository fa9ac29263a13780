/* channel.h — the control plane's end of the snapshot channel, as a state machine without I/O.
 *
 * It knows the connected data planes and what each holds, brings each to the current snapshot, and runs the two-phase
 * push over all of them. Messages go in with channel_receive and come out with channel_pull; time moves only as it is told.
 * docs/internals/channel.md has the states, the rules, and a worked example.
 *
 * Events may run inside any function that takes a `struct channel *` which is not const; they must not call
 * channel_disconnect.
 * Thread: one at a time. */
#pragma once

#include "controlplane/channel/snapshot.h"

struct channel;
struct push;
struct transfer;

struct channel_config {
    uint64_t hello_timeout;     /* microseconds from connecting to the end of Hello */
    uint64_t prepare_timeout;   /* from the first Prepare to Ready or Nack */
    uint64_t commit_timeout;    /* from Commit to Ack */
    uint64_t silence;           /* a stream from which nothing came for so long may be replaced by a new one of its node */
    size_t data_planes_max;
};

extern const struct channel_config channel_config_default;

enum {
    CHANNEL_REASONS_MAX = 100,          /* of a Nack are kept */
    CHANNEL_REPORT_MAX = 256 << 10,     /* bytes of a Report that is kept */
    CHANNEL_OBSERVATION_MAX = 2 << 20,  /* likewise of an Observation */
    CHANNEL_AWAY_MAX = 256,             /* nodes that are remembered after their streams have ended */
    CHANNEL_LOSSES_MAX = 5,             /* a node that was lost so often over one snapshot is not sent it again */
};

enum data_plane_state {
    DATA_PLANE_GREETING,        /* its Hello has not come to its end */
    DATA_PLANE_IDLE,            /* no transfer is open */
    DATA_PLANE_PREPARING,       /* Prepare goes out, or the answer is awaited */
    DATA_PLANE_READY,           /* waits for the other data planes of the push */
    DATA_PLANE_COMMITTING,      /* Commit goes out, or Ack is awaited */
    DATA_PLANE_ENDED,           /* nothing more is taken from this stream; its owner closes it */
};

/* One stream. Read-only for everybody but the channel; valid from channel_connect to channel_disconnect. */
struct data_plane {
    enum data_plane_state state;
    void *owner;
    char *peer;                         /* address, for people */
    char *node, *software;              /* NULL until the Hello has come */
    uint32_t workers;
    uint64_t process_started_at;        /* microseconds since 1970, as it says */
    uint64_t connected_at, heard_at, acked_at; /* in channel time; acked_at 0: never */
    struct snapshot *held;              /* what it serves; bodies may be absent; NULL: nothing */
    struct snapshot *refused;           /* the last current snapshot that it answered with Nack, or NULL */
    uint64_t refused_at;
    Headgate__Nack *nack;               /* with the reasons for that; can be NULL for want of memory */
    char *persist_error;                /* of the last Ack: why the last-known-good copy could not be written, or NULL */
    Headgate__Report *report;           /* the last one, or NULL */
    Headgate__Observation *observation; /* the last one, or NULL */
    bool takes_observe;

    /* The channel's own from here on. */
    struct data_plane *next;
    struct greeting *greeting;          /* what came of a Hello that is not complete */
    struct transfer *transfer;
    struct snapshot *target;            /* of the transfer */
    uint64_t nonce;                     /* of the transfer, or of the last one */
    bool is_of_push;                    /* the transfer belongs to the push */
    bool is_in_push;                    /* takes part in the push */
    size_t participant;                 /* its index there */
    uint64_t sent_bytes;                /* of the transfer */
    uint64_t abort_nonce, commit_nonce; /* to be sent; 0: none */
    bool is_unconfirmed;                /* it serves its last-known-good copy, and is to be told when that is current */
    uint64_t observe;                   /* to be asked for; 0: nothing */
    char *abort_reason, *refuse_reason; /* to be sent; NULL: none */
    uint64_t deadline;                  /* 0, UINT64_MAX: none; IDLE: when it is looked at again after a Nack */
};

/* A node whose stream has ended, until it comes back. */
struct away_node {
    struct away_node *next;
    char *node, *software;
    uint64_t version;                   /* that it served; 0: nothing */
    uint64_t seen_at;                   /* in channel time: when something last came from it */
};

enum data_plane_health {
    DATA_PLANE_IN_SYNC,                 /* serves the current snapshot */
    DATA_PLANE_BEHIND,
    DATA_PLANE_NACKED,                  /* refused the current snapshot and is not sent it again */
};

enum push_outcome {
    PUSH_COMMITTED,                     /* all that were READY were told to switch */
    PUSH_CHECKED,                       /* a dry run: all were READY */
    PUSH_REFUSED,                       /* somebody was not READY; nothing has changed anywhere */
};

enum participant_state {
    PARTICIPANT_WAITING,                /* for the Ack of an earlier transfer */
    PARTICIPANT_PREPARING,
    PARTICIPANT_READY,
    PARTICIPANT_COMMITTING,
    PARTICIPANT_ACKED,
    PARTICIPANT_NACKED,
    PARTICIPANT_LOST,                   /* the stream ended, or a deadline passed */
};

struct push_participant {
    char *node;
    enum participant_state state;
    bool was_ready;                     /* a loss after READY does not stop the push */
    Headgate__Nack *nack;               /* NACKED: the reasons */
    char *lost_reason;                  /* LOST: why */
    uint64_t build_us, switch_us, sent_bytes;
    struct data_plane *data_plane;      /* NULL when it is gone */
};

struct push_result {
    enum push_outcome outcome;
    const char *reason;                 /* REFUSED by channel_push_abort: its reason; otherwise NULL */
    const struct push_participant *participants;
    size_t count;
};

enum { CHANNEL_REASON_SIZE = 512 };     /* of a text that says why somebody is not let in */

struct channel_events {
    /* There is something for channel_pull of this stream. */
    void (*wake)(void *stream_owner);
    /* The stream shall end: after channel_pull has nothing more, or `at_once`. Then comes channel_disconnect. */
    void (*end)(void *stream_owner, const char *reason, bool at_once);
    /* Every participant is READY: make the snapshot durable, then call channel_push_commit, or channel_push_abort. */
    void (*push_ready)(void *context);
    /* The push is over; the result is valid during the call. A new push may be begun inside. */
    void (*push_done)(void *context, const struct push_result *result);
    /* May who opened this stream have that name? If not, says why not. NULL: anybody may have any name. */
    bool (*may_be_called)(void *stream_owner, const char *node, char reason[CHANNEL_REASON_SIZE]);
};

struct channel_counters {
    uint64_t connects, refusals;        /* streams */
    uint64_t transfers, acks, nacks, losses;
    uint64_t sent_bytes;                /* of Prepare messages */
    uint64_t served_changes;            /* Acks of snapshots with changed endpoints, outside pushes */
    uint64_t served_us;                 /* from when their first change was known, together */
};

/* NULL without memory. */
struct channel *channel_create(const struct channel_config *config, const struct channel_events *events, void *context);
/* Every stream must have been disconnected; NULL is allowed. */
void channel_destroy(struct channel *c);

/* Moves the clock, never back. */
void channel_tell_time(struct channel *c, uint64_t now_us);
/* Moves the clock and acts on deadlines that have passed; to be called after what has arrived was received. */
void channel_advance(struct channel *c, uint64_t now_us);
/* When channel_advance should be called at the latest; UINT64_MAX: nothing waits. */
uint64_t channel_next_deadline(const struct channel *c);

/* A data plane has opened a stream. NULL: too many, or no memory. `peer` is copied. */
struct data_plane *channel_connect(struct channel *c, void *stream_owner, const char *peer);
/* The stream has ended; `dp` is gone. `reason` may be NULL. */
void channel_disconnect(struct channel *c, struct data_plane *dp, const char *reason);
void channel_receive(struct channel *c, struct data_plane *dp, const Headgate__DataPlaneMessage *m);
/* The next message to send, valid until the next call with this stream; NULL: nothing now. */
const Headgate__ControlPlaneMessage *channel_pull(struct channel *c, struct data_plane *dp);

/* What every data plane is brought to; NULL: nothing is sent (no intent). Not while a push is open. */
void channel_set_current(struct channel *c, struct snapshot *s);
struct snapshot *channel_current(const struct channel *c); /* not a new reference */

/* Begins a push of `target` to every data plane that has said Hello, or -- where the target is the current snapshot -- to
 * those that do not serve it, whether they refused it before or not. Only one push at a time. Events may have run before
 * it returns. Returns 0, or -1 without memory. */
int channel_push(struct channel *c, struct snapshot *target, bool is_dry_run);
bool channel_is_pushing(const struct channel *c);
void channel_push_commit(struct channel *c);
void channel_push_abort(struct channel *c, const char *reason);

/* The streams, in the order of connecting; NULL at the end. */
const struct data_plane *channel_first(const struct channel *c);
const struct data_plane *channel_after(const struct data_plane *dp);
/* Nodes without a stream that had one, the last to go first; the list is valid until the channel is called again. When there
 * are too many, the one that was seen longest ago is forgotten. */
const struct away_node *channel_away(const struct channel *c);
/* Asks every data plane that can tell for what it counts; the answers come into `observation`. Returns the number that those
 * answers have: any lower one is older. */
uint64_t channel_observe(struct channel *c);
/* Of a stream that has said Hello. */
enum data_plane_health channel_health(const struct channel *c, const struct data_plane *dp);
const struct channel_counters *channel_counters(const struct channel *c);
