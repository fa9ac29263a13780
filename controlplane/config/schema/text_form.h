/* text_form.h — what kinds of text there are: addresses, domains, methods and so on. Thread: any. */
#pragma once

#include "common/arena.h"
#include "common/str.h"

struct text_form {
    const char *name;           /* "address"; unique, for the reference and the JSON Schema */
    const char *expected;       /* "an address such as 127.0.0.1:8080, ..." */
    const char *pattern;        /* regular expression of ECMA-262 for editors, coarser than the check; may be NULL */
    /* NULL when the text is right; otherwise what is wrong with it, static or in the arena. *canonical is the text on
     * entry and may be replaced by the one form in which it is stored. */
    const char *(*check)(struct arena *arena, struct str text, struct str *canonical);
    const char *const *known;   /* the only right texts, ended by NULL: for suggestions; may be NULL */
};

/* What a check says, by this address, when memory was short: nothing is known of the text then. */
extern const char text_no_memory[];

extern const struct text_form text_any;             /* one line or more of anything */
extern const struct text_form text_body;            /* likewise, NUL too */
extern const struct text_form text_name;            /* of a resource */
extern const struct text_form text_word;            /* a token for logs and metrics */
extern const struct text_form text_file;            /* path of a file */
extern const struct text_form text_address;         /* IP and port, or Unix-domain; to listen on */
extern const struct text_form text_endpoint;        /* likewise, with a port other than 0; to connect to */
extern const struct text_form text_udp;             /* IP and port */
extern const struct text_form text_prefix;          /* range of IP addresses */
extern const struct text_form text_domain;          /* of a virtual host; lower case */
extern const struct text_form text_host;            /* host with or without a port */
extern const struct text_form text_dns_name;        /* host without a port, no address; lower case */
extern const struct text_form text_server_name;     /* likewise, or "*." and one */
extern const struct text_form text_dns_label;       /* RFC 1123; lower case */
extern const struct text_form text_service_port;    /* name or number of a port of a Service */
extern const struct text_form text_scheme;          /* http or https */
extern const struct text_form text_path;            /* begins with a slash, no query */
extern const struct text_form text_location;        /* likewise, with a query where wanted */
extern const struct text_form text_method;          /* RFC 9110 section 9.1 */
extern const struct text_form text_condition_name;  /* a field name, or ":method", ":authority", ":scheme", ":path" */
extern const struct text_form text_field_name;      /* RFC 9110 section 5.1; lower case */
extern const struct text_form text_own_field_name;  /* likewise, of a field that does not frame the message */
extern const struct text_form text_check_field_name; /* likewise, for the request of a health check */
extern const struct text_form text_field_value;     /* RFC 9110 section 5.5 */
extern const struct text_form text_upgrade;         /* RFC 9110 section 7.8; lower case, or "*" */
extern const struct text_form text_hex;             /* octets; lower case */
extern const struct text_form text_cipher_suite;    /* of TLS 1.3, by IANA name */
extern const struct text_form text_cipher;          /* of TLS 1.2, by OpenSSL's name */
extern const struct text_form text_group;           /* for key exchange */
extern const struct text_form text_certificate_hash; /* SHA-256 in hexadecimal; lower case without colons */
extern const struct text_form text_key_hash;        /* SHA-256 in base64 */
extern const struct text_form text_regex;           /* PCRE2 */
extern const struct text_form text_substitution;    /* with \0 to \9 */

/* Number of groups of a regular expression that was checked; the largest possible one without memory to find out. */
unsigned text_regex_groups(struct str regex);
