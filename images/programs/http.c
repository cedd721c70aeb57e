#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENT_PATIENCE_S = 5 };

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int query_value(const struct request *request, const char *name, char value[VALUE_MAX])
{
    size_t name_length = strlen(name), length = 0;
    const char *at = request->query;

    while (strncmp(at, name, name_length) != 0 || at[name_length] != '=') {
        at = strchr(at, '&');
        if (at == NULL)
            return 0;
        at++;
    }
    for (at += name_length + 1; *at != '\0' && *at != '&'; at++) {
        char c = *at == '+' ? ' ' : *at;
        if (c == '%' && hex(at[1]) >= 0 && hex(at[2]) >= 0) {
            c = (char)(hex(at[1]) * 16 + hex(at[2]));
            at += 2;
        }
        if (length == VALUE_MAX - 1)
            return 0;
        value[length++] = c;
    }
    value[length] = '\0';
    return 1;
}

int whole_number(const char *text, long long *number)
{
    char *end;

    errno = 0;
    *number = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

void say(struct answer *answer, const char *format, ...)
{
    va_list arguments;
    int written;

    for (;;) {
        size_t left = answer->room - answer->length;
        va_start(arguments, format);
        written = vsnprintf(answer->body + answer->length, left, format, arguments);
        va_end(arguments);
        if (written < 0)
            return;
        if ((size_t)written < left)
            break;
        answer->room = answer->room * 2 + (size_t)written;
        answer->body = realloc(answer->body, answer->room);
        if (answer->body == NULL)
            abort(); /* the parent starts another worker */
    }
    answer->length += (size_t)written;
}

/* Reads up to the blank line, and the body that was announced (which is ignored: closing a socket with
 * unread data would reset the connection before the client has read the answer). */
static int read_request(int client, struct request *request)
{
    char text[REQUEST_MAX + 1], target[1280];
    size_t length = 0;
    char *end, *announced, *query;
    long long rest = 0;

    for (;;) {
        ssize_t got = read(client, text + length, REQUEST_MAX - length);
        if (got <= 0)
            return 0;
        length += (size_t)got;
        text[length] = '\0';
        end = strstr(text, "\r\n\r\n");
        if (end != NULL)
            break;
        if (length == REQUEST_MAX)
            return 0;
    }
    announced = strcasestr(text, "\r\ncontent-length:");
    if (announced != NULL && announced < end)
        rest = strtoll(announced + 17, NULL, 10) - (long long)(length - (size_t)(end + 4 - text));
    memset(request, 0, sizeof *request);
    if (sscanf(text, "%7s %1279s", request->method, target) != 2)
        return 0;
    query = strchr(target, '?');
    if (query != NULL) {
        *query++ = '\0';
        memcpy(request->query, query, strnlen(query, sizeof request->query - 1));
    }
    memcpy(request->path, target, strnlen(target, sizeof request->path - 1));
    while (rest > 0 && rest < 1 << 20) {
        char skipped[1024];
        ssize_t got = read(client, skipped, sizeof skipped);
        if (got <= 0)
            break;
        rest -= got;
    }
    return 1;
}

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 507: return "Insufficient Storage";
    default: return "Service Unavailable";
    }
}

static void send_all(int client, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(client, data, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        data += sent;
        length -= (size_t)sent;
    }
}

static void serve_client(int client, void (*handle)(const struct request *, struct answer *))
{
    struct timeval patience = {.tv_sec = CLIENT_PATIENCE_S};
    struct request request;
    struct answer answer = {.status = 200, .room = 1024};
    char head[160];
    int length;

    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    answer.body = malloc(answer.room);
    if (answer.body == NULL)
        abort();
    answer.body[0] = '\0';
    if (read_request(client, &request)) {
        handle(&request, &answer);
        length = snprintf(head, sizeof head,
            "HTTP/1.0 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
            answer.status, reason(answer.status), answer.length);
        send_all(client, head, (size_t)length);
        send_all(client, answer.body, answer.length);
    }
    free(answer.body);
    shutdown(client, SHUT_WR);
    close(client);
}

static void work(int listener, void (*handle)(const struct request *, struct answer *))
{
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0)
            serve_client(client, handle);
        else if (errno != EINTR && errno != ECONNABORTED)
            sleep(1);
    }
}

int serve(int workers, void (*handle)(const struct request *, struct answer *))
{
    struct sockaddr_in everywhere = {.sin_family = AF_INET, .sin_port = htons(80)};
    int yes = 1, running = 0;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&everywhere, sizeof everywhere) < 0 || listen(listener, 128) < 0) {
        perror("gemel: port 80");
        return 1;
    }
    if (workers == 1)
        work(listener, handle);
    for (;;) {
        while (running < workers) {
            pid_t child = fork();
            if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                work(listener, handle);
            }
            if (child < 0)
                break;
            running++;
        }
        if (wait(NULL) > 0)
            running--;
        else
            sleep(1);
    }
}
