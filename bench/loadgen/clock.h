/* The one clock of the load generator: monotonic, in nanoseconds. */
#pragma once

#include <stdint.h>
#include <time.h>

#define NANOSECONDS_PER_SECOND 1000000000ull

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec moment;
    clock_gettime(clock, &moment);
    return (uint64_t)moment.tv_sec * NANOSECONDS_PER_SECOND + (uint64_t)moment.tv_nsec;
}

static inline uint64_t monotonic_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}
