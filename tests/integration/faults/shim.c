/* Preloaded into the daemon under test: fails fsync and shifts the wall clock, as a shared page of memory says.
 * Page: int64 shift of CLOCK_REALTIME in ns; int64 fail every sync with EIO; int64 failed so far; int64 monotonic ns of the first.
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t none[4];
static volatile int64_t *page = none;
static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_fsync)(int), (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MTA_FAULT_PAGE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (fd >= 0) {
        void *map = mmap(0, 32, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED) page = map;
        close(fd);
    }
}

int clock_gettime(clockid_t id, struct timespec *now) {
    if (!real_clock) real_clock = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real_clock(id, now);
    if (rc == 0 && page[0] && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + page[0];
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return rc;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec t;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec;
    now->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}

static int fails(void) {
    if (!page[1]) return 0;
    if (__sync_fetch_and_add(&page[2], 1) == 0) {
        struct timespec t;
        real_clock(CLOCK_MONOTONIC, &t);
        page[3] = t.tv_sec * 1000000000LL + t.tv_nsec;
    }
    errno = EIO;
    return 1;
}

int fsync(int fd) { return fails() ? -1 : real_fsync(fd); }
int fdatasync(int fd) { return fails() ? -1 : real_fdatasync(fd); }
