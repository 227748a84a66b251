/*
 * A disk that fails, between a program and the system: loaded with LD_PRELOAD, told by the environment what to do.
 *
 *   FAULT_PATH    the files that it is about: a part of their paths
 *   FAULT_CALL    the call that fails once: pwrite, fdatasync, fsync; syncfs fails always
 *   FAULT_ERRNO   with which error
 *   FAULT_AFTER   after how many of these calls that succeeded
 *   FAULT_TRACE   the file to which each of these calls is written, a line each: its name, its result
 *   FAULT_SHADOW  a folder with the segments as they are on the disk itself
 *
 * A call that fails is not made again by this library, and the next one succeeds: a program that tries once more is told that
 * all is well. A write that fails writes the first half of its bytes. To the shadow goes only what a later fdatasync said is
 * durable; what was written before one that failed never gets there, as the kernel takes those pages for clean.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { MOST = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long calls;
static int spoilt;
static int waiting;
static struct { int fd; off_t at; size_t length; } pending[MOST];

static const char *told(const char *name) {
    const char *value = getenv(name);
    return value != NULL ? value : "";
}

/* Whether the file is one that this is about; its path goes to `path`. */
static int concerns(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, MOST - 1);
    path[length > 0 ? length : 0] = 0;
    return *told("FAULT_PATH") != 0 && strstr(path, told("FAULT_PATH")) != NULL;
}

static void trace(const char *call, long result) {
    char line[64];
    int length = snprintf(line, sizeof line, "%s %ld\n", call, result);
    int fd = open(told("FAULT_TRACE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (write(fd, line, (size_t) length) != length) abort();
        close(fd);
    }
}

/* Whether this call is the one that fails. */
static int fails(const char *call) {
    return strcmp(told("FAULT_CALL"), call) == 0 && calls++ == atol(told("FAULT_AFTER"));
}

/* The disk has, or has lost, what was written to this file and not synced. */
static void settle(int fd, const char *path, int durable) {
    const char *name = strrchr(path, '/');
    char shadow[2 * MOST];
    int out = -1, kept = 0;
    if (durable && *told("FAULT_SHADOW") != 0 && name != NULL && strstr(name, ".segment") != NULL) {
        snprintf(shadow, sizeof shadow, "%s%s", told("FAULT_SHADOW"), name);
        out = open(shadow, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    }
    ssize_t (*write_at)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    for (int n = 0; n < waiting; n++) {
        if (pending[n].fd != fd) {
            pending[kept++] = pending[n];
            continue;
        }
        char *bytes = malloc(pending[n].length);
        ssize_t read = bytes != NULL && out >= 0 ? pread(fd, bytes, pending[n].length, pending[n].at) : 0;
        if (read > 0 && write_at(out, bytes, (size_t) read, pending[n].at) != read) abort();
        free(bytes);
    }
    waiting = kept;
    if (out >= 0) close(out);
}

static ssize_t written(int fd, const void *bytes, size_t length, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
    char path[MOST];
    if (!concerns(fd, path)) return real(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    ssize_t result;
    int error = 0;
    if (spoilt) {
        /* The half that there was room for has been written. */
        spoilt = 0;
        result = -1;
        error = atoi(told("FAULT_ERRNO"));
    } else if (fails("pwrite")) {
        spoilt = 1;
        result = real(fd, bytes, length / 2, at);
    } else {
        result = real(fd, bytes, length, at);
        error = errno;
    }
    if (result > 0 && waiting < MOST) {
        pending[waiting].fd = fd;
        pending[waiting].at = at;
        pending[waiting++].length = (size_t) result;
    }
    trace("pwrite", result);
    pthread_mutex_unlock(&lock);
    if (result < 0) errno = error;
    return result;
}

static int synced(const char *call, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, call);
    char path[MOST];
    if (!concerns(fd, path)) return real(fd);
    pthread_mutex_lock(&lock);
    int failed = fails(call);
    int result = failed ? -1 : real(fd);
    int error = failed ? atoi(told("FAULT_ERRNO")) : errno;
    settle(fd, path, result == 0);
    trace(call, result);
    pthread_mutex_unlock(&lock);
    if (result < 0) errno = error;
    return result;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return written(fd, bytes, length, (off_t) at); }

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return written(fd, bytes, length, at); }

int fdatasync(int fd) { return synced("fdatasync", fd); }

int fsync(int fd) { return synced("fsync", fd); }

/* Not every caller of syncfs goes through the C library, so the kernel refuses it. */
__attribute__((constructor)) static void begin(void) {
    if (strcmp(told("FAULT_CALL"), "syncfs") != 0) return;
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_syncfs, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned) atoi(told("FAULT_ERRNO"))),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof rules / sizeof *rules, rules };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) abort();
}
