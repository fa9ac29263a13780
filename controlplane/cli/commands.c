#include "controlplane/cli/command.h"
#include "controlplane/cli/etcd.h"

const struct option_spec common_options[] = {
    {"output", 'o', "FORM", "text (the default) or json"},
    {"color", '\0', "WHEN", "auto (the default: on a terminal, unless NO_COLOR is set), always or never"},
    {"runtime-dir", 'r', "DIR", "where the daemons' sockets are ($HEADGATE_RUNTIME_DIR or /run/headgate)"},
    {"control-socket", '\0', "PATH", "the control plane's socket (RUNTIME_DIR/control.sock)"},
    {"timeout", '\0', "SECONDS", "for the control plane to answer (120)"},
    {"help", 'h', NULL, "print this"},
    {0},
};

static const struct option_spec no_options[] = {{0}};

static const struct option_spec run_options[] = {
    {"listen", 'l', "ADDRESS", "listen there instead of reading a file; may be repeated"},
    {"to", 't', "ADDRESS", "send requests there; may be repeated"},
    {"xds-bootstrap", '\0', "FILE", "ask the management servers of FILE (xDS), besides or instead of a file of our own"},
    {"xds-resources", '\0', "N", "resources of theirs that may be held; what comes beyond is refused by name (1000000)"},
    {"xds-memory", '\0', "MIB", "memory for what they send, likewise (1024)"},
    {"etcd", '\0', "ADDRESS", "follow the configuration and endpoints of an etcd, etcd://HOST:PORT[,HOST:PORT...]/PREFIX"},
    ETCD_OPTIONS,
    {"state-dir", 's', "DIR", "where versions and the last good snapshot are kept ($HEADGATE_STATE_DIR)"},
    {"node", '\0', "NAME", "the data plane's name ($HEADGATE_NODE or the host's)"},
    {"zone", '\0', "NAME", "the data plane's zone, for clusters that prefer it ($HEADGATE_ZONE)"},
    {"workers", '\0', "N", "threads that serve traffic (one per CPU)"},
    {"kernel-tls", '\0', "WHEN", "auto (the default: the kernel makes the records of TLS where it can do all of it) or off"},
    {"udp-steering", '\0', "HOW", "what gives datagrams to their worker at best: auto (the default), classic or hash"},
    {"user", '\0', "NAME", "who the data plane runs as, when started as root (headgate, or nobody)"},
    {"dataplane-admin", '\0', "ADDRESS", "metrics and probes of the data plane (127.0.0.1:9901)"},
    {"controlplane-admin", '\0', "ADDRESS",
     "metrics and probes of the control plane (127.0.0.1:9902), or off"},
    {0},
};

#define PUSH_OPTIONS                                                          \
    {"message", 'm', "TEXT", "why, for the log"},                             \
        {"dry-run", 'n', NULL, "ask every data plane, and change nothing"}, { \
        "if-version", '\0', "N", "refuse unless N is the current version"     \
    }

static const struct option_spec change_options[] = {PUSH_OPTIONS, {0}};

#define OF_ETCD(what) {"to", '\0', "ADDRESS", what " of an etcd, etcd://HOST:PORT[,HOST:PORT...]/PREFIX"}, ETCD_OPTIONS

static const struct option_spec rollback_options[] = {PUSH_OPTIONS, OF_ETCD("the configuration"), {0}};
static const struct option_spec diff_options[] = {OF_ETCD("the versions"), {0}};

static const struct option_spec push_options[] = {
    PUSH_OPTIONS,
    {"embed", '\0', NULL, "send the files of certificates and keys, too, instead of having the control plane read them"},
    {"to", '\0', "ADDRESS", "write it to an etcd, etcd://HOST:PORT[,HOST:PORT...]/PREFIX, for all nodes that follow it"},
    ETCD_OPTIONS,
    {0},
};

static const struct option_spec log_options[] = {{"limit", 'n', "N", "at most N versions (50)"}, {0}};

static const struct option_spec show_options[] = {
    {"effective", 'e', NULL, "with defaults, and with what routes inherit, filled in"},
    {"pushed", '\0', NULL, "only what was pushed, without what servers say"},
    OF_ETCD("the configuration"),
    {0},
};

static const struct option_spec explain_options[] = {
    {"header", 'H', "FIELD", "a header field of the request, as \"NAME: VALUE\"; may be repeated"},
    {"file", 'f', "FILE", "by a file, or standard input for -, instead of what is served"},
    {"version", '\0', "N", "by another version"},
    {"xds", '\0', "FILE", "by a RouteConfiguration of Envoy's, as JSON or YAML, in its words"},
    {"random", '\0', "N", "with --xds: the number by which a cluster of several, or a route that takes a share, is chosen"},
    {"runtime", '\0', "KEY=N", "with --xds: a value of the runtime: percent or a share like 5/10000 for routes that name "
     "KEY, a weight for clusters; may be repeated"},
    {"metadata", '\0', "FILTER=OBJECT", "with --xds: what a filter says of the request, as JSON or YAML; may be repeated"},
    {0},
};

static const struct option_spec top_options[] = {
    {"once", '1', NULL, "measure for one interval, print that, and end; so it is without a terminal, too"},
    {"interval", 'i', "SECONDS", "between two measurements (1)"},
    {"node", 'n', "NAME", "of this data plane only"},
    {0},
};

static const struct option_spec status_options[] = {
    {"cluster", '\0', "NAME", "of this cluster only, with up to 2000 of its endpoints"},
    {0},
};

static const struct option_spec verify_options[] = {
    {"state-dir", 's', "DIR", "look at a store that no control plane has open"},
    {0},
};

static const struct option_spec gc_options[] = {
    {"keep", 'k', "N", "keep the newest N versions (what the control plane is set to, 200)"},
    {"dry-run", 'n', NULL, "only say what would be dropped"},
    {"state-dir", 's', "DIR", "work on a store that no control plane has open"},
    {0},
};

static const struct option_spec help_options[] = {
    {"format", 'f', "FORM", "text (the default), man or markdown: the last two describe every command"},
    {0},
};

static const struct option_spec schema_options[] = {
    {"format", 'f', "FORM", "json (the default), or markdown: the reference of every key"},
    {0},
};

const struct command commands[] = {
    {"run", "[FILE]", "run everything in the foreground",
     "Starts a control plane and a data plane, and pushes FILE now and whenever it or what it includes changes; a bad edit "
     "changes nothing and says why. With --listen and --to no file is needed. Ends in an orderly way with Ctrl-C. A second "
     "one beside it needs its own --runtime-dir and --state-dir, --dataplane-admin and --controlplane-admin.",
     run_options, ARGUMENT_FILE, 0, 1, command_run},
    {"validate", "FILE", "say what the control plane would say, without one",
     "Reads FILE, or standard input for -, and what it includes, and reports every error with its line.", no_options,
     ARGUMENT_FILE, 1, 1, command_validate},
    {"push", "FILE", "make FILE the next version",
     "Sends FILE, or standard input for -, and what it includes. The control plane validates it, has every data plane "
     "build it, and commits when all of them are ready; otherwise nothing changes, and the reasons are printed. With --to "
     "etcd://... it is validated here and written to etcd in one transaction, for every control plane that was started "
     "with --etcd; refused when somebody else pushed meanwhile.",
     push_options, ARGUMENT_FILE, 1, 1, command_push},
    {"set", "KIND/NAME FILE", "make or replace one resource",
     "KIND/NAME is that of a listener, route-table, cluster or endpoint-set, or settings/default. FILE, or standard input "
     "for -, holds the resource in the form it has inside a configuration. As atomic and as versioned as push.",
     change_options, ARGUMENT_RESOURCE_THEN_FILE, 2, 2, command_set},
    {"delete", "KIND/NAME", "delete one resource",
     "Refused while others refer to it. As atomic and as versioned as push.", change_options, ARGUMENT_RESOURCE,
     1, 1, command_delete},
    {"log", "", "list versions", "Newest first, with who serves each now.", log_options, ARGUMENT_NONE, 0, 0,
     command_log},
    {"show", "[VERSION] [KIND/NAME]", "print a version or one resource",
     "As the YAML that would make it; JSON with --output json. KIND/NAME as for set, or secret/NAME, without its keys. With "
     "--to etcd://... what etcd has: the present version, or the one before.",
     show_options, ARGUMENT_RESOURCE, 0, 2,
     command_show},
    {"diff", "[A [B]] [FILE]", "compare versions, or a version and a file",
     "Without arguments: what the current version changed. With A: from A to the current one. With FILE: from A, or the "
     "current version, to FILE, or standard input for -. The exit code is 1 when there are differences. With --to "
     "etcd://... the versions are those of etcd: from its version before to the present one, or from that to FILE.",
     diff_options, ARGUMENT_FILE, 0, 2, command_diff},
    {"rollback", "[VERSION]", "make a new version with the intent of an old one",
     "Without VERSION: of the one before the current. A watched file is not pushed from then on, until the next push. With "
     "--to etcd://... etcd's version before becomes its next one: it keeps no other.",
     rollback_options, ARGUMENT_NONE, 0, 1, command_rollback},
    {"status", "", "say what runs, and what is wrong now",
     "Data planes with their versions, also those that went away, clusters with their endpoints, and problems.",
     status_options, ARGUMENT_NONE, 0, 0, command_status},
    {"top", "", "show rates, latencies and errors of clusters live",
     "For each data plane requests a second, errors and connections; for each cluster attempts (requests that were sent to "
     "an endpoint, so a retry is another one), errors, times to the head of the response, and the endpoints that are "
     "unhealthy, draining or ejected. Keys: q ends it, s sorts by something else, arrows scroll. With --output json one "
     "object for each interval.",
     top_options, ARGUMENT_NONE, 0, 0, command_top},
    {"explain", "METHOD URL", "say what a request would meet",
     "Listener, host, rule and why the earlier ones do not match, cluster and endpoints, by the data plane's own code. "
     "For example: headgate explain GET http://example.com:8080/api/x -H 'x-canary: 1'. With --xds no control plane "
     "is asked; what the gateway would refuse of the routes is told.",
     explain_options, ARGUMENT_NONE, 2, 2, command_explain},
    {"verify", "", "check every stored object and the chain of versions",
     "Finds any flipped bit. The exit code is 1 when there is a fault.", verify_options, ARGUMENT_NONE, 0, 0,
     command_verify},
    {"gc", "", "drop the versions that retention does not keep",
     "And every object that only they refer to. The control plane also does so by itself.", gc_options,
     ARGUMENT_NONE, 0, 0, command_gc},
    {"schema", "", "print the JSON Schema of a configuration",
     "For editors that complete and check YAML; or, with --format markdown, the reference for people.",
     schema_options, ARGUMENT_NONE, 0, 0, command_schema},
    {"completion", "SHELL", "print a completion script for bash, zsh or fish",
     "For example: headgate completion bash > /etc/bash_completion.d/headgate", no_options, ARGUMENT_NONE, 1,
     1, command_completion},
    {"version", "", "print the versions of everything linked", "", no_options, ARGUMENT_NONE, 0, 0,
     command_version},
    {"help", "[COMMAND]", "describe a command, or list them", "", help_options, ARGUMENT_COMMAND, 0, 1,
     command_help},
    {0},
};

const struct command *command_find(struct str name) {
    for (const struct command *c = commands; c->name; c++)
        if (str_eq(name, str_of(c->name)))
            return c;
    return NULL;
}

const char *command_nearest(struct str name) {
    const char *names[sizeof commands / sizeof *commands];
    size_t count = 0;
    for (const struct command *c = commands; c->name; c++)
        names[count++] = c->name;
    return str_nearest(name, names, count);
}

const struct option_spec *command_options(const struct command *c, struct option_spec *room, size_t count) {
    size_t n = 0;
    for (const struct option_spec *s = c->options; s->name && n < count; s++)
        room[n++] = *s;
    for (const struct option_spec *s = common_options; s->name && n < count; s++)
        room[n++] = *s;
    if (n == count)
        return NULL;
    room[n] = (struct option_spec){0};
    return room;
}
