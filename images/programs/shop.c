/* The shop: keeps orders in a log on its data disk, and answers `ok` only when the disk has them.
 *
 *   POST /order?id=N     ok N seq=S      after the record was written and flushed
 *   GET  /orders?after=S lines `S N`     every record after sequence number S
 *   GET  /health         ok
 *
 * The log is the disk itself: records of 64 bytes from its start, each with its sequence number and a
 * checksum. It ends at the first record that does not verify, so a torn write is never taken for an order.
 */
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#define MAGIC 0x67656d656c6f7264ULL /* "gemelord" */

enum { BLOCK = 4096 };

struct record {
    uint64_t magic;
    uint64_t sequence;
    int64_t order;
    uint64_t reserved[4];
    uint64_t checksum;
};

enum { IN_BLOCK = BLOCK / sizeof(struct record) };

static int disk;
static uint64_t capacity, count;
static struct record *block; /* the last block of the log, as it is on the disk */

static uint64_t checksum(const struct record *record) /* FNV-1a */
{
    const unsigned char *bytes = (const unsigned char *)record;
    uint64_t sum = 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < offsetof(struct record, checksum); i++)
        sum = (sum ^ bytes[i]) * 0x100000001b3ULL;
    return sum;
}

static int valid(const struct record *record, uint64_t sequence)
{
    return record->magic == MAGIC && record->sequence == sequence && record->checksum == checksum(record);
}

static int read_block(uint64_t number, struct record *into)
{
    return pread(disk, into, BLOCK, (off_t)(number * BLOCK)) == BLOCK;
}

/* Finds the end of the log. */
static int open_log(const char *path)
{
    uint64_t bytes = 0;

    disk = open(path, O_RDWR | O_DIRECT);
    if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes) < 0 || posix_memalign((void **)&block, BLOCK, BLOCK) != 0)
        return 0;
    capacity = bytes / BLOCK * IN_BLOCK;
    for (count = 0; count < capacity; count++) {
        if (count % IN_BLOCK == 0 && !read_block(count / IN_BLOCK, block))
            return 0;
        if (!valid(&block[count % IN_BLOCK], count + 1)) {
            memset(&block[count % IN_BLOCK], 0, BLOCK - count % IN_BLOCK * sizeof *block);
            return 1;
        }
    }
    return 1;
}

/* Returns 0 with errno when it is not certain that the disk has the order. The process must then end and
 * read the log again: what is in memory may differ from what is on the disk. */
static int append(int64_t order)
{
    struct record *record = &block[count % IN_BLOCK];

    memset(record, 0, sizeof *record);
    record->magic = MAGIC;
    record->sequence = count + 1;
    record->order = order;
    record->checksum = checksum(record);
    if (pwrite(disk, block, BLOCK, (off_t)(count / IN_BLOCK * BLOCK)) != BLOCK || fdatasync(disk) < 0)
        return 0;
    count++;
    if (count % IN_BLOCK == 0)
        memset(block, 0, BLOCK);
    return 1;
}

static void take_order(const struct request *request, struct answer *answer)
{
    char id[VALUE_MAX];
    long long order;

    if (!query_value(request, "id", id) || !whole_number(id, &order)) {
        answer->status = 400;
        say(answer, "give the order's number: /order?id=17\n");
    } else if (count == capacity) {
        answer->status = 507;
        say(answer, "the disk is full: %" PRIu64 " orders\n", count);
    } else if (append(order)) {
        say(answer, "ok %lld seq=%" PRIu64 "\n", order, count);
    } else {
        perror("gemel: shop: the order was not kept");
        exit(1);
    }
}

static void list_orders(const struct request *request, struct answer *answer)
{
    static struct record *buffer;
    char text[VALUE_MAX];
    long long after = 0;

    if (query_value(request, "after", text) && (!whole_number(text, &after) || after < 0)) {
        answer->status = 400;
        say(answer, "after is a sequence number\n");
        return;
    }
    if (buffer == NULL && posix_memalign((void **)&buffer, BLOCK, BLOCK) != 0)
        exit(1);
    for (uint64_t at = (uint64_t)after, held = UINT64_MAX; at < count; at++) {
        if (at / IN_BLOCK != held) {
            held = at / IN_BLOCK;
            if (!read_block(held, buffer))
                exit(1);
        }
        say(answer, "%" PRIu64 " %" PRId64 "\n", at + 1, buffer[at % IN_BLOCK].order);
    }
}

static void handle(const struct request *request, struct answer *answer)
{
    if (strcmp(request->path, "/health") == 0) {
        say(answer, "ok orders=%" PRIu64 "\n", count);
    } else if (strcmp(request->path, "/orders") == 0) {
        list_orders(request, answer);
    } else if (strcmp(request->path, "/order") != 0) {
        answer->status = 404;
        say(answer, "there are /order?id=N (POST), /orders?after=S and /health\n");
    } else if (strcmp(request->method, "POST") != 0) {
        answer->status = 405;
        say(answer, "an order is POSTed\n");
    } else {
        take_order(request, answer);
    }
}

int main(void)
{
    const char *path = getenv("SHOP_DISK");

    if (path == NULL)
        path = "/dev/vda";
    if (!open_log(path)) {
        fprintf(stderr, "gemel: shop: cannot use %s: %s; give this guest a disk\n", path, strerror(errno));
        return 1;
    }
    fprintf(stderr, "gemel: shop: %" PRIu64 " orders on %s\n", count, path);
    return serve(1, handle); /* one writer: the sequence has one author */
}
