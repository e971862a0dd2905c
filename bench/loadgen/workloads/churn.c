/* Workload churn: connections come at a steady rate, each stays until all the others have had their
 * turn, and goes. The pool's size over the rate is how long one stays. One that has not joined by
 * then is waited for, so a server that is too slow has a lower rate.
 *
 * A latency is from connecting until the last join is answered. Prints one JSON object. */
#include <inttypes.h>

#include "../clock.h"
#include "../fail.h"
#include "../latency.h"
#include "../options.h"
#include "../pool.h"
#include "../usage.h"

static void ignore_message(void *workload, struct connection *connection,
                           const struct frame *frame, uint64_t received_ns) {
    (void)workload, (void)connection, (void)frame, (void)received_ns;
}

static void leave(struct connection *connection, struct latencies *latencies) {
    latencies_add(latencies, connection->joined_ns - connection->opened_ns);
    pool_close(connection);
}

/* Lets the next connection come in the place of the one that came first. */
static void replace(struct pool *pool, struct latencies *latencies, uint64_t deadline_ns) {
    struct connection *connection = &pool->connections[pool->opened % pool->count];
    while (connection->stage != STAGE_CLOSED && connection->stage != STAGE_JOINED) {
        if (monotonic_ns() > deadline_ns) {
            fail("connection %zu does not join", connection->index);
        }
        pool_poll(pool, 10, ignore_message, NULL);
    }
    if (connection->stage == STAGE_JOINED) {
        leave(connection, latencies);
    }
    pool_connect(pool, connection);
}

static void drain(struct pool *pool, struct latencies *latencies, uint64_t deadline_ns) {
    while (pool->joined < pool->opened) {
        if (monotonic_ns() > deadline_ns) {
            fail("only %zu of %zu connections joined in time", pool->joined, pool->opened);
        }
        pool_poll(pool, 10, ignore_message, NULL);
    }
    for (size_t i = 0; i < pool->count; i++) {
        struct connection *connection = &pool->connections[i];
        if (connection->stage == STAGE_JOINED) {
            leave(connection, latencies);
        }
    }
}

int main(int count, char **values) {
    struct options options = options_read(count, values);
    static struct pool pool;
    static struct latencies latencies;
    latencies_reset(&latencies);
    pool_prepare(&pool, options.target, options.connections);
    uint64_t deadline_ns = monotonic_ns() + options.deadline_ns;

    struct usage start = usage_now(&options.share);
    uint64_t end_ns = start.wall_ns + options.measure_ns;
    uint64_t due_ns = start.wall_ns;
    while (due_ns < end_ns) {
        while (due_ns <= monotonic_ns() && due_ns < end_ns) {
            replace(&pool, &latencies, deadline_ns);
            due_ns += options.interval_ns;
        }
        pool_poll(&pool, 1, ignore_message, NULL);
    }
    drain(&pool, &latencies, deadline_ns);
    struct usage end = usage_now(&options.share);

    struct usage used = usage_between(&start, &end);
    printf("{\"came\": %zu, ", pool.opened);
    usage_print(&used);
    printf(", ");
    latencies_print(&latencies);
    printf("}\n");
    return 0;
}
