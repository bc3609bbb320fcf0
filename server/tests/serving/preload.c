/* Loaded before the program under test; `preload.rs` builds it and says what it does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS, FAULT, GATE };
enum { OPEN, ARMED, HELD };

/* Shared with the test. */
static volatile int64_t *world;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("ENCDEC_TEST_WORLD");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED) world = memory;
}

static int is_engine(void) {
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    return strcmp(name, "engine") == 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (world && world[FAULT] > 0 && is_engine() && --world[FAULT] == 0) {
        errno = EINVAL;
        return -1;
    }
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && world && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += world[SECONDS];
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

static int is_checkpoint(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return strstr(path, "/model.safetensors") != NULL;
}

ssize_t pread64(int file, void *into, size_t count, off64_t at) {
    /* Somewhere behind the header, among the tensors. */
    if (world && world[GATE] == ARMED && at >= 1 << 20 && is_checkpoint(file)) {
        world[GATE] = HELD;
        /* A test that failed lets nobody go: no longer than a minute. */
        for (int waits = 0; world[GATE] == HELD && waits < 300000; waits++) usleep(200);
    }
    return syscall(SYS_pread64, file, into, count, at);
}
