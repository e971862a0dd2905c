/* Workload talk: every connection sends each of its texts at a steady rate, whatever comes back.
 *
 * A text has room for the moment it is sent at; the time from then until it arrives somewhere is a
 * latency. A round is over when every connection has sent each of its texts once, and `expected` is
 * how many messages must arrive then: what is lost is missing from the count. The first round is the
 * warm-up. Prints one JSON object. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <string.h>

#include "../clock.h"
#include "../fail.h"
#include "../latency.h"
#include "../options.h"
#include "../pool.h"
#include "../usage.h"

enum { MOMENT_DIGITS = 19, TEXT_MAX = 1 << 16 };

static const char PLACEHOLDER[] = "###################";

struct talk {
    struct pool pool;
    const char *marker;   /* what the moment follows */
    uint64_t measured_ns; /* what was sent before is not counted */
    uint64_t sent;
    uint64_t other_messages;
    struct latencies latencies;
};

static void send_one(struct talk *talk, uint64_t number) {
    static char text[TEXT_MAX];
    static uint8_t scratch[FRAME_HEADER_MAX + TEXT_MAX];
    struct connection *connection = &talk->pool.connections[number % talk->pool.count];
    const struct texts *sends = &connection->client->sends;
    const char *pattern = sends->items[number / talk->pool.count % sends->count];
    size_t length = strlen(pattern);
    if (length >= TEXT_MAX) {
        fail("a text is too long");
    }
    memcpy(text, pattern, length + 1);
    char *moment = strstr(text, PLACEHOLDER);
    if (moment == NULL) {
        fail("a text has no %s to put the moment in", PLACEHOLDER);
    }
    uint64_t now_ns = monotonic_ns();
    for (int i = MOMENT_DIGITS - 1; i >= 0; i--, now_ns /= 10) {
        moment[i] = (char)('0' + now_ns % 10);
    }
    pool_send_text(connection, text, length, scratch);
}

static void on_message(void *workload, struct connection *connection, const struct frame *frame,
                       uint64_t received_ns) {
    (void)connection;
    struct talk *talk = workload;
    size_t marker_length = strlen(talk->marker);
    uint8_t *found = memmem(frame->payload, frame->payload_length, talk->marker, marker_length);
    if (found == NULL) {
        talk->other_messages++;
        return;
    }
    uint64_t sent_ns = 0;
    for (uint8_t *digit = found + marker_length; *digit >= '0' && *digit <= '9'; digit++) {
        sent_ns = sent_ns * 10 + (uint64_t)(*digit - '0');
    }
    if (sent_ns > received_ns) {
        fail("a message from the future");
    }
    if (sent_ns >= talk->measured_ns) {
        latencies_add(&talk->latencies, received_ns - sent_ns);
    }
}

/* Lets every connection send each of its texts once, `rounds` times, one text after the other. */
static void run_phase(struct talk *talk, uint64_t interval_ns, uint64_t rounds) {
    uint64_t remaining = rounds * talk->pool.count * talk->pool.connections[0].client->sends.count;
    uint64_t due_ns = monotonic_ns();
    while (remaining > 0) {
        for (uint64_t now_ns = monotonic_ns(); due_ns <= now_ns && remaining > 0; remaining--) {
            send_one(talk, talk->sent++);
            due_ns += interval_ns;
        }
        pool_poll(&talk->pool, 1, on_message, talk);
    }
}

int main(int count, char **values) {
    struct options options = options_read(count, values);
    if (options.marker == NULL || options.interval_ns == 0 || options.expected == 0) {
        fail("no marker, no interval or nothing expected");
    }
    static struct talk talk;
    talk.marker = options.marker;
    latencies_reset(&talk.latencies);
    uint64_t deadline_ns = monotonic_ns() + options.deadline_ns;
    pool_open(&talk.pool, options.target, options.connections, deadline_ns);

    talk.measured_ns = UINT64_MAX;
    run_phase(&talk, options.interval_ns, 1);
    uint64_t warmup_sent = talk.sent;
    struct usage start = usage_now(&options.share);
    talk.measured_ns = start.wall_ns;
    uint64_t round_ns = options.interval_ns * warmup_sent;
    uint64_t rounds = (options.measure_ns + round_ns - 1) / round_ns;
    run_phase(&talk, options.interval_ns, rounds);
    uint64_t expected = rounds * options.expected;
    while (talk.latencies.count < expected && monotonic_ns() < deadline_ns) {
        pool_poll(&talk.pool, 100, on_message, &talk);
    }
    struct usage end = usage_now(&options.share);

    struct usage used = usage_between(&start, &end);
    printf("{\"sent\": %" PRIu64 ", \"deliveries\": %" PRIu64 ", \"expected\": %" PRIu64
           ", \"other_messages\": %" PRIu64 ", ",
           talk.sent - warmup_sent, talk.latencies.count, expected, talk.other_messages);
    usage_print(&used);
    printf(", ");
    latencies_print(&talk.latencies);
    printf("}\n");
    return 0;
}
