#include "latency.h"

#include <string.h>

#include "fail.h"

void latencies_reset(struct latencies *latencies) {
    if (latencies->buckets == NULL) {
        latencies->buckets = malloc(LATENCY_BUCKETS * sizeof *latencies->buckets);
    }
    if (latencies->buckets == NULL) {
        fail("out of memory");
    }
    memset(latencies->buckets, 0, LATENCY_BUCKETS * sizeof *latencies->buckets);
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
