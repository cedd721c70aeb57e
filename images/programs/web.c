/* The bank's web tier: reads and writes the bank's database over one persistent connection a worker.
 *
 *   GET  /                                    total balance and the last transaction's number
 *   POST /deposit?account=A&amount=N[&ref=R]  ok ID balance=B   after the commit was acknowledged
 *   GET  /ledger?after=ID                     lines `ID account amount ref`, at most 10,000
 *   GET  /health                              ok, whatever the database does
 *
 * When the database does not answer within 4 s: 503 and the reason. A deposit is identified by its `ref`
 * (one is made up when absent), so that the retry after a broken connection cannot deposit twice; a 503
 * to a deposit means that it may or may not have happened, and asking again with the same ref tells.
 *
 * Environment: BANK_HOST, BANK_PASSWORD; BANK_PORT (5432), BANK_USER (bank), BANK_DATABASE (bank).
 */
#include "http.h"

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 4000, CONNECT_MS = 12000, RETRY_MS = 1000, WORKERS = 2 };

static PGconn *database;
static char trouble[512];

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : otherwise;
}

/* Remembers why, in one line. */
static void note(const char *why)
{
    snprintf(trouble, sizeof trouble, "%.*s", (int)strcspn(why, "\n"), why);
}

/* Drops the connection: whatever it was doing, it is of no use now. */
static void give_up(const char *why)
{
    note(why);
    PQfinish(database);
    database = NULL;
}

static int wait_socket(short events, long long deadline)
{
    struct pollfd fd = {.fd = PQsocket(database), .events = events};
    long long left = deadline - now_ms();

    return left > 0 && poll(&fd, 1, (int)left) > 0;
}

/* Begins, or goes on with, connecting. A connection that is not there by the deadline of one request is gone
 * on with by the next, up to CONNECT_MS: the password exchange is costly for both sides, and giving it up
 * half-way again and again would keep a busy database from ever letting anybody in. */
static int connect_by(long long deadline)
{
    const char *const keys[] = {"host", "port", "user", "password", "dbname", "tcp_user_timeout",
        "sslmode", "gssencmode", "application_name", NULL};
    const char *const values[] = {setting("BANK_HOST", "127.0.0.1"), setting("BANK_PORT", "5432"),
        setting("BANK_USER", "bank"), setting("BANK_PASSWORD", ""), setting("BANK_DATABASE", "bank"),
        "4000", "disable", "disable", "web", NULL};
    static PostgresPollingStatusType status;
    static long long abandon_at, retry_at;

    if (database != NULL && PQstatus(database) == CONNECTION_OK)
        return 1;
    if (database != NULL && (PQstatus(database) == CONNECTION_BAD || now_ms() >= abandon_at))
        give_up("no connection to the database");
    if (database == NULL) {
        /* Every attempt costs a database that is still recovering a process: leave it in peace for a while. */
        if (now_ms() < retry_at)
            return 0;
        retry_at = now_ms() + RETRY_MS;
        database = PQconnectStartParams(keys, values, 0);
        if (database == NULL)
            abort();
        status = PGRES_POLLING_WRITING;
        abandon_at = now_ms() + CONNECT_MS;
    }
    while (PQstatus(database) != CONNECTION_BAD && status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
        if (!wait_socket(status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline)) {
            note("no connection to the database within 4 s");
            return 0;
        }
        status = PQconnectPoll(database);
    }
    if (status == PGRES_POLLING_OK)
        return 1;
    give_up(PQerrorMessage(database));
    return 0;
}

/* One statement, answered by the deadline or not at all (NULL, and `trouble` says why). */
static PGresult *ask_by(long long deadline, const char *statement, int count, const char *const *values)
{
    PGresult *result, *next;
    const char *message;

    if (!connect_by(deadline))
        return NULL;
    if (!PQsendQueryParams(database, statement, count, NULL, values, NULL, NULL, 0)) {
        give_up(PQerrorMessage(database));
        return NULL;
    }
    while (PQisBusy(database)) {
        if (!wait_socket(POLLIN, deadline)) {
            give_up("no answer from the database within 4 s");
            return NULL;
        }
        if (!PQconsumeInput(database)) {
            give_up(PQerrorMessage(database));
            return NULL;
        }
    }
    result = PQgetResult(database);
    while ((next = PQgetResult(database)) != NULL)
        PQclear(next);
    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return result;
    message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    note(message != NULL ? message : PQerrorMessage(database));
    PQclear(result);
    if (PQstatus(database) != CONNECTION_OK) {
        PQfinish(database);
        database = NULL;
    }
    return NULL;
}

/* A connection may have died unnoticed since the last request (the database moved): ask once more on a
 * new one, within the same 4 s. Every statement here may be repeated. */
static PGresult *ask(const char *statement, int count, const char *const *values)
{
    long long deadline = now_ms() + PATIENCE_MS;
    int was_connected = database != NULL && PQstatus(database) == CONNECTION_OK;
    PGresult *result = ask_by(deadline, statement, count, values);

    if (result == NULL && database == NULL && was_connected && now_ms() < deadline)
        result = ask_by(deadline, statement, count, values);
    return result;
}

static void refuse(struct answer *answer)
{
    answer->status = 503;
    say(answer, "unavailable: %s\n", trouble);
}

static void show_total(struct answer *answer)
{
    PGresult *result = ask(
        "SELECT (SELECT sum(balance) FROM accounts), (SELECT coalesce(max(id), 0) FROM ledger)", 0, NULL);

    if (result == NULL) {
        refuse(answer);
        return;
    }
    say(answer, "balance %s\ntransaction %s\n", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
    PQclear(result);
}

static void list_ledger(const struct request *request, struct answer *answer)
{
    char after[VALUE_MAX] = "0";
    const char *const values[] = {after};
    long long number;
    PGresult *result;

    if (query_value(request, "after", after) && !whole_number(after, &number)) {
        answer->status = 400;
        say(answer, "after is a transaction's number\n");
        return;
    }
    result = ask("SELECT id, account, amount, ref FROM ledger WHERE id > $1::bigint ORDER BY id LIMIT 10000",
        1, values);
    if (result == NULL) {
        refuse(answer);
        return;
    }
    for (int row = 0; row < PQntuples(result); row++)
        say(answer, "%s %s %s %s\n", PQgetvalue(result, row, 0), PQgetvalue(result, row, 1),
            PQgetvalue(result, row, 2), PQgetvalue(result, row, 3));
    PQclear(result);
}

static const char DEPOSIT[] =
    "WITH entry AS (INSERT INTO ledger (account, amount, ref)"
    "                 SELECT id, $2::bigint, $3 FROM accounts WHERE id = $1::int"
    "                 ON CONFLICT (ref) DO NOTHING RETURNING id, account, amount),"
    "     paid AS (UPDATE accounts a SET balance = a.balance + e.amount FROM entry e"
    "                WHERE a.id = e.account RETURNING a.balance) "
    "SELECT coalesce((SELECT id FROM entry), (SELECT id FROM ledger WHERE ref = $3)),"
    "       coalesce((SELECT balance FROM paid), (SELECT balance FROM accounts WHERE id = $1::int))";

static void deposit(const struct request *request, struct answer *answer)
{
    static unsigned long made_up;
    char account[VALUE_MAX], amount[VALUE_MAX], ref[VALUE_MAX];
    const char *const values[] = {account, amount, ref};
    struct timespec now;
    long long number;
    PGresult *result;

    if (!query_value(request, "account", account) || !whole_number(account, &number) || number < 0 ||
        number > 0x7fffffff || !query_value(request, "amount", amount) || !whole_number(amount, &number)) {
        answer->status = 400;
        say(answer, "give whole numbers: /deposit?account=1&amount=5\n");
        return;
    }
    if (!query_value(request, "ref", ref)) {
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(ref, sizeof ref, "%lld.%09ld-%d-%lu", (long long)now.tv_sec, now.tv_nsec, getpid(), ++made_up);
    }
    result = ask(DEPOSIT, 3, values);
    if (result == NULL) {
        refuse(answer);
        return;
    }
    if (PQgetisnull(result, 0, 0)) {
        answer->status = 404;
        say(answer, "there is no account %s\n", account);
    } else {
        say(answer, "ok %s balance=%s\n", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
    }
    PQclear(result);
}

static void handle(const struct request *request, struct answer *answer)
{
    if (strcmp(request->path, "/") == 0)
        show_total(answer);
    else if (strcmp(request->path, "/deposit") == 0)
        deposit(request, answer);
    else if (strcmp(request->path, "/ledger") == 0)
        list_ledger(request, answer);
    else if (strcmp(request->path, "/health") == 0)
        say(answer, "ok\n");
    else {
        answer->status = 404;
        say(answer, "there are /, /deposit?account=A&amount=N, /ledger?after=ID and /health\n");
    }
}

int main(void)
{
    return serve(WORKERS, handle);
}
