/* Latencies in buckets of one microsecond up to ten seconds: counting one is one increment. */
#pragma once

#include <stdint.h>

enum { LATENCY_BUCKETS = 10000000 };

struct latencies {
    uint32_t *buckets; /* the last one also holds everything slower */
    uint64_t count;
};

void latencies_reset(struct latencies *latencies);

static inline void latencies_add(struct latencies *latencies, uint64_t nanoseconds) {
    uint64_t bucket = nanoseconds / 1000;
    latencies->buckets[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1]++;
    latencies->count++;
}

/* The latency in microseconds that `share` (0 to 1) of all deliveries did not exceed. */
uint64_t latencies_quantile_us(const struct latencies *latencies, double share);

/* Prints the usual quantiles as members of a JSON object, without braces. */
void latencies_print(const struct latencies *latencies);
