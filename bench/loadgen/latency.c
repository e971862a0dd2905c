#include "latency.h"

#include <inttypes.h>
#include <stdio.h>

#include "fail.h"

void latencies_reset(struct latencies *latencies) {
    free(latencies->buckets);
    /* Fresh from the kernel: pages that are never counted in are never touched. */
    latencies->buckets = calloc(LATENCY_BUCKETS, sizeof *latencies->buckets);
    if (latencies->buckets == NULL) {
        fail("out of memory");
    }
    latencies->count = 0;
}

uint64_t latencies_quantile_us(const struct latencies *latencies, double share) {
    uint64_t wanted = (uint64_t)(share * (double)latencies->count);
    uint64_t seen = 0;
    for (uint64_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        seen += latencies->buckets[bucket];
        if (seen >= wanted && seen > 0) {
            return bucket;
        }
    }
    return 0;
}

void latencies_print(const struct latencies *latencies) {
    printf("\"latency_p50_us\": %" PRIu64 ", \"latency_p95_us\": %" PRIu64
           ", \"latency_p99_us\": %" PRIu64,
           latencies_quantile_us(latencies, 0.50), latencies_quantile_us(latencies, 0.95),
           latencies_quantile_us(latencies, 0.99));
}
