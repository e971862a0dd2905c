/* Workload fan-out: one connection publishes, all of them (the publisher too) receive.
 *
 * Closed loop: at most `outstanding` publishes are not yet delivered to everybody. With an
 * interval, publishes are also at least that far apart. Every delivery carries the sequence
 * number of its publish; a lost, repeated or reordered one ends the program without a result.
 * After a warm-up the measured window starts and ends with nothing outstanding.
 * The last connections may be slow: they read one byte a second, and nobody waits for them.
 * Prints one JSON object. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "../clock.h"
#include "../fail.h"
#include "../latency.h"
#include "../options.h"
#include "../pool.h"
#include "../usage.h"

enum { SEQUENCE_DIGITS = 12, OUTSTANDING_MAX = 1024 };

/* Where the published text has room for the number, and what precedes it in a delivery. */
static const char PLACEHOLDER[] = "############";
static const char MARKER[] = "\"sequence\":\"";

struct fanout {
    struct pool pool;
    char *text; /* of the next publish */
    size_t text_length;
    char *digits; /* inside text */
    uint8_t *scratch;
    size_t slow;
    size_t slow_cut; /* of these, closed by the server */
    uint64_t next_byte_ns;
    size_t outstanding;
    uint64_t interval_ns;
    uint64_t next_due_ns;
    uint64_t deadline_ns;
    uint64_t published; /* publishes so far: the next one's sequence number */
    uint64_t completed; /* of these, delivered to everybody */
    uint64_t published_at_ns[OUTSTANDING_MAX];
    size_t remaining[OUTSTANDING_MAX]; /* deliveries still expected, by sequence number */
    uint64_t *expected;                /* next sequence number, by connection */
    size_t digits_offset;              /* where the last delivery had its number */
    uint64_t delivered_bytes;
    uint64_t other_messages;
    struct latencies latencies;
};

static void write_sequence(char *digits, uint64_t sequence) {
    for (int i = SEQUENCE_DIGITS - 1; i >= 0; i--, sequence /= 10) {
        digits[i] = (char)('0' + sequence % 10);
    }
}

static uint64_t read_sequence(const uint8_t *digits) {
    uint64_t sequence = 0;
    for (int i = 0; i < SEQUENCE_DIGITS; i++) {
        sequence = sequence * 10 + (uint64_t)(digits[i] - '0');
    }
    return sequence;
}

static void publish(struct fanout *fanout, uint64_t now_ns) {
    size_t slot = fanout->published % OUTSTANDING_MAX;
    write_sequence(fanout->digits, fanout->published);
    fanout->remaining[slot] = fanout->pool.count - fanout->slow;
    fanout->published_at_ns[slot] = now_ns;
    fanout->published++;
    pool_send_text(&fanout->pool.connections[0], fanout->text, fanout->text_length,
                   fanout->scratch);
}

/* Finds the number where it was last time, else by search: layouts differ between servers,
 * not between deliveries. Returns NULL for a message that is no delivery. */
static const uint8_t *find_digits(struct fanout *fanout, const struct frame *frame) {
    size_t marker_length = sizeof MARKER - 1;
    size_t offset = fanout->digits_offset;
    if (offset >= marker_length && offset + SEQUENCE_DIGITS <= frame->payload_length &&
        memcmp(frame->payload + offset - marker_length, MARKER, marker_length) == 0) {
        return frame->payload + offset;
    }
    uint8_t *marker = memmem(frame->payload, frame->payload_length, MARKER, marker_length);
    if (marker == NULL) {
        return NULL;
    }
    offset = (size_t)(marker - frame->payload) + marker_length;
    if (offset + SEQUENCE_DIGITS > frame->payload_length) {
        return NULL;
    }
    fanout->digits_offset = offset;
    return frame->payload + offset;
}

static void on_message(void *workload, struct connection *connection, const struct frame *frame,
                       uint64_t received_ns) {
    struct fanout *fanout = workload;
    const uint8_t *digits = find_digits(fanout, frame);
    if (digits == NULL) {
        fanout->other_messages++;
        return;
    }
    uint64_t sequence = read_sequence(digits);
    uint64_t expected = fanout->expected[connection->index]++;
    if (sequence != expected || sequence >= fanout->published) {
        fail("connection %zu: delivery %" PRIu64 " where %" PRIu64 " was due", connection->index,
             sequence, expected);
    }
    size_t slot = sequence % OUTSTANDING_MAX;
    latencies_add(&fanout->latencies, received_ns - fanout->published_at_ns[slot]);
    fanout->delivered_bytes += frame->payload_length;
    if (--fanout->remaining[slot] == 0) {
        fanout->completed++;
    }
}

static int timeout_ms(const struct fanout *fanout, bool publishing, uint64_t now_ns) {
    if (!publishing || fanout->next_due_ns <= now_ns) {
        return 100;
    }
    return (int)((fanout->next_due_ns - now_ns) / 1000000 + 1);
}

/* Lets each slow connection read its byte of this second. */
static void read_slowly(struct fanout *fanout, uint64_t now_ns) {
    if (now_ns < fanout->next_byte_ns) {
        return;
    }
    fanout->next_byte_ns = now_ns + NANOSECONDS_PER_SECOND;
    fanout->slow_cut = 0;
    for (size_t i = fanout->pool.count - fanout->slow; i < fanout->pool.count; i++) {
        uint8_t byte;
        struct pollfd state = {fanout->pool.connections[i].descriptor, POLLRDHUP, 0};
        recv(state.fd, &byte, 1, MSG_DONTWAIT);
        fanout->slow_cut += poll(&state, 1, 0) > 0;
    }
}

/* Publishes for `duration_ns`, then waits until everything has been delivered. */
static void run_phase(struct fanout *fanout, uint64_t duration_ns) {
    uint64_t now_ns = monotonic_ns();
    uint64_t end_ns = now_ns + duration_ns;
    fanout->next_due_ns = now_ns;
    while (now_ns < end_ns || fanout->completed < fanout->published) {
        bool publishing = now_ns < end_ns;
        while (publishing && fanout->published - fanout->completed < fanout->outstanding &&
               now_ns >= fanout->next_due_ns) {
            publish(fanout, now_ns);
            fanout->next_due_ns += fanout->interval_ns;
            now_ns = monotonic_ns();
        }
        if (now_ns > fanout->deadline_ns) {
            fail("out of time: %" PRIu64 " of %" PRIu64 " publishes delivered", fanout->completed,
                 fanout->published);
        }
        read_slowly(fanout, now_ns);
        pool_poll(&fanout->pool, timeout_ms(fanout, publishing, now_ns), on_message, fanout);
        now_ns = monotonic_ns();
    }
}

static void prepare(struct fanout *fanout, const struct options *options) {
    fanout->outstanding = options->outstanding;
    fanout->interval_ns = options->interval_ns;
    fanout->slow = options->slow;
    const struct texts *sends = &clients_at(&options->target.clients, 0)->sends;
    if (sends->count != 1 || options->outstanding > OUTSTANDING_MAX) {
        fail("the first client has one text to send, at most %d outstanding", OUTSTANDING_MAX);
    }
    fanout->text = sends->items[0];
    fanout->text_length = strlen(fanout->text);
    fanout->digits = strstr(fanout->text, PLACEHOLDER);
    fanout->scratch = malloc(FRAME_HEADER_MAX + fanout->text_length);
    fanout->expected = calloc(options->connections, sizeof *fanout->expected);
    if (fanout->digits == NULL) {
        fail("the text to send has no %s to put the sequence number in", PLACEHOLDER);
    }
    latencies_reset(&fanout->latencies);
}

static void print_result(const struct fanout *fanout, const struct usage *used,
                         uint64_t publishes, uint64_t open_ns) {
    printf("{\"publishes\": %" PRIu64 ", \"deliveries\": %" PRIu64
           ", \"delivered_bytes\": %" PRIu64 ", \"other_messages\": %" PRIu64
           ", \"slow_cut\": %zu, \"open_s\": %.4f, ",
           publishes, fanout->latencies.count, fanout->delivered_bytes, fanout->other_messages,
           fanout->slow_cut,
           (double)open_ns / 1e9);
    usage_print(used);
    printf(", ");
    latencies_print(&fanout->latencies);
    printf("}\n");
}

int main(int count, char **values) {
    struct options options = options_read(count, values);
    static struct fanout fanout;
    prepare(&fanout, &options);

    uint64_t start_ns = monotonic_ns();
    fanout.deadline_ns = start_ns + options.deadline_ns;
    pool_open(&fanout.pool, options.target, options.connections, fanout.deadline_ns);
    uint64_t open_ns = monotonic_ns() - start_ns;
    for (size_t i = options.connections - options.slow; i < options.connections; i++) {
        pool_ignore(&fanout.pool, &fanout.pool.connections[i]);
    }

    run_phase(&fanout, options.warmup_ns);
    latencies_reset(&fanout.latencies);
    fanout.delivered_bytes = 0;
    uint64_t warmup_publishes = fanout.published;

    struct usage start = usage_now(&options.share);
    run_phase(&fanout, options.measure_ns);
    struct usage end = usage_now(&options.share);

    struct usage used = usage_between(&start, &end);
    print_result(&fanout, &used, fanout.published - warmup_publishes, open_ns);
    return 0;
}
