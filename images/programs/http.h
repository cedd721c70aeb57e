/* A small HTTP/1.0 server: one request a connection, and no state beyond it. */
#ifndef GEMEL_HTTP_H
#define GEMEL_HTTP_H

#include <stddef.h>

enum { REQUEST_MAX = 4096, VALUE_MAX = 256 };

struct request {
    char method[8];
    char path[VALUE_MAX];
    char query[1024];
};

struct answer {
    int status;
    size_t length;
    size_t room;
    char *body;
};

/* Writes the query's value of `name` to `value`; returns 0 when it is absent or too long. */
int query_value(const struct request *request, const char *name, char value[VALUE_MAX]);

/* Reads a whole decimal number; returns 0 when `text` is not one. */
int whole_number(const char *text, long long *number);

/* Appends to the body, as printf. */
void say(struct answer *answer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Serves port 80 for ever with `workers` processes, each of which handles one request at a time. */
int serve(int workers, void (*handle)(const struct request *, struct answer *));

#endif
