/* Workload listen: every connection hears what others cause, and counts the marker in it.
 *
 * Says by a line of JSON that all have joined and what that took, sends each client's texts once, and listens until
 * the marker has come as often as expected, or has not come for `measure`, or the deadline has. A number that follows the marker
 * is a moment on the monotonic clock, in nanoseconds: the time since then is its latency, and on
 * one connection these moments may only increase, so a repeated or reordered message ends the
 * program without a result; what is lost is missing from the count.
 * Prints one JSON object. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "../clock.h"
#include "../fail.h"
#include "../latency.h"
#include "../options.h"
#include "../pool.h"
#include "../usage.h"

enum { POLL_MS = 100 };

struct listening {
    struct pool pool;
    const char *marker;
    size_t marker_length;
    size_t marker_offset; /* where the last message had it */
    uint64_t *newest_ns;  /* by connection */
    uint64_t counted;
    uint64_t other_messages;
    uint64_t bytes;
    uint64_t first_ns;
    uint64_t last_ns;
    struct latencies latencies;
};

/* Finds the marker where it was last time, else by search: the layouts of messages hardly differ. */
static const uint8_t *find_first(struct listening *listening, const struct frame *frame) {
    const uint8_t *usual = frame->payload + listening->marker_offset;
    if (listening->marker_offset + listening->marker_length <= frame->payload_length &&
        memcmp(usual, listening->marker, listening->marker_length) == 0) {
        return usual;
    }
    uint8_t *found = memmem(frame->payload, frame->payload_length, listening->marker,
                            listening->marker_length);
    if (found != NULL) {
        listening->marker_offset = (size_t)(found - frame->payload);
    }
    return found;
}

static void time_one(struct listening *listening, size_t index, const uint8_t *digits,
                     const uint8_t *end, uint64_t received_ns) {
    uint64_t sent_ns = 0;
    while (digits < end && *digits >= '0' && *digits <= '9') {
        sent_ns = sent_ns * 10 + (uint64_t)(*digits++ - '0');
    }
    if (sent_ns == 0) {
        return;
    }
    if (sent_ns <= listening->newest_ns[index] || sent_ns > received_ns) {
        fail("connection %zu: a message of %" PRIu64 " after one of %" PRIu64, index, sent_ns,
             listening->newest_ns[index]);
    }
    listening->newest_ns[index] = sent_ns;
    latencies_add(&listening->latencies, received_ns - sent_ns);
}

static void on_message(void *workload, struct connection *connection, const struct frame *frame,
                       uint64_t received_ns) {
    struct listening *listening = workload;
    const uint8_t *found = find_first(listening, frame);
    if (found == NULL) {
        listening->other_messages++;
        return;
    }
    const uint8_t *end = frame->payload + frame->payload_length;
    if (listening->counted == 0) {
        listening->first_ns = received_ns;
    }
    listening->last_ns = received_ns;
    listening->bytes += frame->payload_length;
    while (found != NULL) {
        listening->counted++;
        found += listening->marker_length;
        time_one(listening, connection->index, found, end, received_ns);
        found = memmem(found, (size_t)(end - found), listening->marker, listening->marker_length);
    }
}

static void send_texts(struct pool *pool) {
    for (size_t i = 0; i < pool->count; i++) {
        struct connection *connection = &pool->connections[i];
        const struct texts *sends = &connection->client->sends;
        for (size_t j = 0; j < sends->count; j++) {
            size_t length = strlen(sends->items[j]);
            uint8_t *scratch = malloc(FRAME_HEADER_MAX + length);
            pool_send_text(connection, sends->items[j], length, scratch);
            free(scratch);
        }
    }
}

static bool is_waiting(const struct listening *listening, const struct options *options,
                       uint64_t deadline_ns) {
    uint64_t now_ns = monotonic_ns();
    bool given_up = options->measure_ns > 0 && listening->counted > 0 &&
                    now_ns > listening->last_ns + options->measure_ns;
    return listening->counted < options->expected && now_ns < deadline_ns && !given_up;
}

static void print_result(const struct listening *listening, const struct usage *used) {
    printf("{\"counted\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"other_messages\": %" PRIu64
           ", \"timed\": %" PRIu64 ", \"span_s\": %.6f, ",
           listening->counted, listening->bytes, listening->other_messages,
           listening->latencies.count,
           (double)(listening->last_ns - listening->first_ns) / 1e9);
    usage_print(used);
    if (listening->latencies.count > 0) {
        printf(", ");
        latencies_print(&listening->latencies);
    }
    printf("}\n");
}

int main(int count, char **values) {
    struct options options = options_read(count, values);
    if (options.marker == NULL) {
        fail("no marker to count");
    }
    static struct listening listening;
    listening.marker = options.marker;
    listening.marker_length = strlen(options.marker);
    listening.newest_ns = calloc(options.connections, sizeof *listening.newest_ns);
    latencies_reset(&listening.latencies);

    uint64_t deadline_ns = monotonic_ns() + options.deadline_ns;
    struct usage before = usage_now(&options.share);
    pool_open(&listening.pool, options.target, options.connections, deadline_ns);
    struct usage start = usage_now(&options.share);
    struct usage opening = usage_between(&before, &start);
    printf("{\"joined\": %zu, ", options.connections);
    usage_print(&opening);
    printf("}\n");
    fflush(stdout);

    send_texts(&listening.pool);
    while (is_waiting(&listening, &options, deadline_ns)) {
        pool_poll(&listening.pool, POLL_MS, on_message, &listening);
    }
    struct usage end = usage_now(&options.share);
    struct usage used = usage_between(&start, &end);
    print_result(&listening, &used);
    return 0;
}
