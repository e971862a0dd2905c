/* Workload requests: every connection sends a text and waits for the answer to it, again and again.
 *
 * A client's texts are sent in turn. An answer is a message that has the marker in it; whatever else
 * comes is counted apart. After a warm-up the measured window starts. Prints one JSON object. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <string.h>

#include "../clock.h"
#include "../fail.h"
#include "../latency.h"
#include "../options.h"
#include "../pool.h"
#include "../usage.h"

enum { POLL_MS = 100 };

struct requests {
    struct pool pool;
    const char *marker;
    uint64_t *sent_ns; /* by connection */
    size_t *next;      /* by connection: which of its texts is sent next */
    uint8_t *scratch;
    uint64_t other_messages;
    struct latencies latencies;
};

static void send_next(struct requests *requests, struct connection *connection) {
    const struct texts *sends = &connection->client->sends;
    const char *text = sends->items[requests->next[connection->index]++ % sends->count];
    requests->sent_ns[connection->index] = monotonic_ns();
    pool_send_text(connection, text, strlen(text), requests->scratch);
}

static void on_message(void *workload, struct connection *connection, const struct frame *frame,
                       uint64_t received_ns) {
    struct requests *requests = workload;
    if (memmem(frame->payload, frame->payload_length, requests->marker,
               strlen(requests->marker)) == NULL) {
        requests->other_messages++;
        return;
    }
    latencies_add(&requests->latencies, received_ns - requests->sent_ns[connection->index]);
    send_next(requests, connection);
}

static void run_until(struct requests *requests, uint64_t end_ns) {
    while (monotonic_ns() < end_ns) {
        pool_poll(&requests->pool, POLL_MS, on_message, requests);
    }
}

static size_t longest_text(const struct clients *clients) {
    size_t longest = 0;
    for (size_t i = 0; i < clients->count; i++) {
        const struct texts *sends = &clients->items[i].sends;
        if (sends->count == 0) {
            fail("client %zu has nothing to send", i);
        }
        for (size_t j = 0; j < sends->count; j++) {
            size_t length = strlen(sends->items[j]);
            longest = length > longest ? length : longest;
        }
    }
    return longest;
}

int main(int count, char **values) {
    struct options options = options_read(count, values);
    if (options.marker == NULL) {
        fail("no marker to know an answer by");
    }
    static struct requests requests;
    requests.marker = options.marker;
    requests.sent_ns = calloc(options.connections, sizeof *requests.sent_ns);
    requests.next = calloc(options.connections, sizeof *requests.next);
    requests.scratch = malloc(FRAME_HEADER_MAX + longest_text(&options.target.clients));
    uint64_t deadline_ns = monotonic_ns() + options.deadline_ns;
    pool_open(&requests.pool, options.target, options.connections, deadline_ns);

    latencies_reset(&requests.latencies);
    for (size_t i = 0; i < options.connections; i++) {
        send_next(&requests, &requests.pool.connections[i]);
    }
    run_until(&requests, monotonic_ns() + options.warmup_ns);
    latencies_reset(&requests.latencies);
    struct usage start = usage_now(&options.share);
    run_until(&requests, start.wall_ns + options.measure_ns);
    struct usage end = usage_now(&options.share);

    if (requests.latencies.count == 0) {
        fail("no answers");
    }
    struct usage used = usage_between(&start, &end);
    printf("{\"answers\": %" PRIu64 ", \"other_messages\": %" PRIu64 ", ",
           requests.latencies.count, requests.other_messages);
    usage_print(&used);
    printf(", ");
    latencies_print(&requests.latencies);
    printf("}\n");
    return 0;
}
