#include "gpu/catalog.h"
#include "gpu/compile.h"
#include "gpu/package.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

enum {
    KEY_HEX_BYTES = 65,
    SCRATCH_STALE_S = 600, /* a build folder older than this was left by a killed worker */
    TEXT_ROOM = GPU_KERNEL_TEXT_BYTES - 300
};

#define SCRATCH_PREFIX ".build-"
#define OBJECT_FILE    "kernel.so"
#define HEADER_FILE    "k_grain.h"

static const char *const build_flags[] = {
    "-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-fvisibility=default", "-fno-strict-aliasing"};
enum { FLAG_COUNT = sizeof build_flags / sizeof build_flags[0] };

/* One build: what is read of the package, and where it goes. */
struct build {
    const struct gpu_manifest *manifest;
    const struct gpu_build_config *config;
    int package_fd;
    uint8_t
        *source[GPU_KERNEL_SOURCES_MAX]; /* owned; exactly these bytes are hashed and compiled */
    size_t source_len[GPU_KERNEL_SOURCES_MAX];
    char key[KEY_HEX_BYTES];
    char scratch[PATH_MAX];
    char *error;
};

static enum sc_status refuse(struct build *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum sc_status refuse(struct build *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(b->error, GPU_KERNEL_TEXT_BYTES, format, args);
    va_end(args);
    return SC_ERR_KERNEL;
}

/* A length before each part, so that no two different inputs give the same bytes. */
static void hash_part(EVP_MD_CTX *ctx, const void *data, size_t len)
{
    uint64_t n = len;
    EVP_DigestUpdate(ctx, &n, sizeof n);
    EVP_DigestUpdate(ctx, data, len);
}

static void hash_text(EVP_MD_CTX *ctx, const char *text)
{
    hash_part(ctx, text, strlen(text));
}

static enum sc_status hash_file(struct build *b, EVP_MD_CTX *ctx, int folder_fd, const char *name)
{
    uint8_t *data = NULL;
    size_t len = 0;
    enum sc_status st =
        gpu_package_read(folder_fd, name, GPU_SOURCE_MAX_BYTES, &data, &len, b->error);
    if (st != SC_OK)
        return SC_ERR_KERNEL;
    hash_part(ctx, data, len);
    free(data);
    return SC_OK;
}

static enum sc_status hash_header(struct build *b, EVP_MD_CTX *ctx)
{
    int fd = gpu_package_open(b->config->include_dir);
    if (fd < 0)
        return refuse(b, "folder of " HEADER_FILE " %s: %s", b->config->include_dir,
                      strerror(errno));
    enum sc_status st = hash_file(b, ctx, fd, HEADER_FILE);
    close(fd);
    return st;
}

static enum sc_status hash_inputs(struct build *b, EVP_MD_CTX *ctx)
{
    enum sc_status st = hash_file(b, ctx, b->package_fd, GPU_MANIFEST_FILE);
    for (uint32_t i = 0; i < b->manifest->source_count && st == SC_OK; i++) {
        hash_text(ctx, b->manifest->sources[i]);
        hash_part(ctx, b->source[i], b->source_len[i]);
    }
    if (st == SC_OK)
        st = hash_header(b, ctx);
    for (size_t i = 0; i < FLAG_COUNT; i++)
        hash_text(ctx, build_flags[i]);
    struct utsname host;
    hash_text(ctx, uname(&host) == 0 ? host.machine : "unknown");
    return st;
}

static enum sc_status make_key(struct build *b)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        return refuse(b, "SHA-256 is not available");
    }
    enum sc_status st = hash_inputs(b, ctx);
    if (st == SC_OK && EVP_DigestFinal_ex(ctx, digest, &n) != 1)
        st = refuse(b, "SHA-256 failed");
    EVP_MD_CTX_free(ctx);
    for (unsigned i = 0; i < n && st == SC_OK; i++)
        snprintf(b->key + (size_t)2 * i, 3, "%02x", digest[i]);
    return st;
}

static enum sc_status read_sources(struct build *b)
{
    enum sc_status st = SC_OK;
    for (uint32_t i = 0; i < b->manifest->source_count && st == SC_OK; i++)
        st = gpu_package_read(b->package_fd, b->manifest->sources[i], GPU_SOURCE_MAX_BYTES,
                              &b->source[i], &b->source_len[i], b->error);
    return st == SC_OK ? SC_OK : SC_ERR_KERNEL;
}

static bool has_object(int folder_fd, const char *name)
{
    int fd = gpu_package_open_file(folder_fd, name);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Code is loaded from the cache, so nobody else may be able to write there. */
static enum sc_status open_cache(struct build *b, int *fd_out)
{
    const char *cache = b->config->cache;
    if (mkdir(cache, 0700) != 0 && errno != EEXIST)
        return refuse(b, "kernel cache folder %s cannot be made: %s", cache, strerror(errno));
    int fd = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        enum sc_status st =
            refuse(b, "kernel cache folder %s cannot be opened: %s", cache, strerror(errno));
        if (fd >= 0)
            close(fd);
        return st;
    }
    if ((info.st_mode & S_IWOTH) != 0) {
        close(fd);
        return refuse(b,
                      "kernel cache folder %s can be written by everybody; name a folder inside "
                      "it, which is then made private",
                      cache);
    }
    *fd_out = fd;
    return SC_OK;
}

/* Removes a build folder; it holds files only. */
static void remove_scratch(int at_fd, const char *name)
{
    int fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(fd, e->d_name, 0);
    closedir(dir);
    unlinkat(at_fd, name, AT_REMOVEDIR);
}

static void remove_stale(int cache_fd)
{
    int fd = openat(cache_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        struct stat info;
        if (strncmp(e->d_name, SCRATCH_PREFIX, strlen(SCRATCH_PREFIX)) == 0 &&
            fstatat(cache_fd, e->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - info.st_mtime > SCRATCH_STALE_S)
            remove_scratch(cache_fd, e->d_name);
    }
    closedir(dir);
}

static enum sc_status write_file(int folder_fd, const char *name, const uint8_t *data, size_t len)
{
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return SC_ERR_IO;
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    int cause = errno;
    int closed = close(fd);
    if (done == len && closed == 0)
        return SC_OK;
    errno = done < len ? cause : errno;
    return SC_ERR_IO;
}

static enum sc_status copy_sources(struct build *b, int scratch_fd)
{
    for (uint32_t i = 0; i < b->manifest->source_count; i++)
        if (write_file(scratch_fd, b->manifest->sources[i], b->source[i], b->source_len[i]) !=
            SC_OK)
            return refuse(b, "kernel cache folder %s cannot be written: %s", b->config->cache,
                          strerror(errno));
    return SC_OK;
}

static bool cache_is_full(const struct build *b, const char *text)
{
    struct statvfs fs;
    return strstr(text, strerror(ENOSPC)) != NULL || strstr(text, strerror(EFBIG)) != NULL ||
           strstr(text, "File size limit exceeded") != NULL ||
           (statvfs(b->config->cache, &fs) == 0 && fs.f_blocks != 0 && fs.f_bavail == 0);
}

static enum sc_status explain(struct build *b, enum sc_status st, const char *text)
{
    const struct gpu_manifest *m = b->manifest;
    switch (st) {
    case SC_OK:
        return SC_OK;
    case SC_ERR_NOT_FOUND:
        return refuse(b,
                      "kernel %s %s is not built and there is no compiler '%s' in PATH: install "
                      "one, or put prebuilt/%s.so into the package",
                      m->id, m->version, b->config->compiler, b->key);
    case SC_ERR_DEADLINE:
        return refuse(b, "compiler '%s' took over %d s and was killed\n%.*s", b->config->compiler,
                      GPU_COMPILE_LIMIT_MS / 1000, TEXT_ROOM, text);
    case SC_ERR_KERNEL:
        if (cache_is_full(b, text))
            return refuse(b, "kernel cache folder %s is full\n%.*s", b->config->cache, TEXT_ROOM,
                          text);
        return refuse(b, "%.*s", TEXT_ROOM,
                      text[0] != 0 ? text : "the compiler failed and printed nothing");
    default:
        return refuse(b, "compiler '%s' cannot be started: %s", b->config->compiler,
                      strerror(errno));
    }
}

static enum sc_status compile(struct build *b, int scratch_fd)
{
    char include[PATH_MAX];
    if (realpath(b->config->include_dir, include) == NULL)
        return refuse(b, "folder of " HEADER_FILE " %s: %s", b->config->include_dir,
                      strerror(errno));
    const char *argv[1 + FLAG_COUNT + 4 + GPU_KERNEL_SOURCES_MAX + 1];
    size_t n = 0;
    argv[n++] = b->config->compiler;
    for (size_t i = 0; i < FLAG_COUNT; i++)
        argv[n++] = build_flags[i];
    argv[n++] = "-I";
    argv[n++] = include;
    argv[n++] = "-o";
    argv[n++] = OBJECT_FILE;
    for (uint32_t i = 0; i < b->manifest->source_count; i++) {
        const char *name = b->manifest->sources[i];
        if (name[strlen(name) - 1] == 'c')
            argv[n++] = name;
    }
    argv[n] = NULL;
    char text[GPU_KERNEL_TEXT_BYTES];
    enum sc_status st =
        gpu_compile_run(argv, scratch_fd, b->scratch, GPU_COMPILE_LIMIT_MS, text, sizeof text);
    return explain(b, st, text);
}

static enum sc_status publish(struct build *b, int scratch_fd, int cache_fd, const char *object)
{
    int fd = openat(scratch_fd, OBJECT_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return refuse(b, "compiler '%s' wrote no object", b->config->compiler);
    int bad = fsync(fd);
    close(fd);
    if (bad != 0 || renameat(scratch_fd, OBJECT_FILE, cache_fd, object) != 0)
        return refuse(b, "kernel cache folder %s cannot be written: %s", b->config->cache,
                      strerror(errno));
    return SC_OK;
}

/* Compiles copies of the bytes that were hashed, in a folder of their own inside the cache: the
 * object then belongs to its key whatever happens to the package meanwhile. */
static enum sc_status build_object(struct build *b, int cache_fd, const char *object)
{
    char cache[PATH_MAX];
    if (realpath(b->config->cache, cache) == NULL ||
        snprintf(b->scratch, sizeof b->scratch, "%s/" SCRATCH_PREFIX "XXXXXX", cache) >=
            (int)sizeof b->scratch)
        return refuse(b, "kernel cache folder %s: its path is too long", b->config->cache);
    remove_stale(cache_fd);
    if (mkdtemp(b->scratch) == NULL)
        return refuse(b, "kernel cache folder %s cannot be written: %s", b->config->cache,
                      strerror(errno));
    const char *name = strrchr(b->scratch, '/') + 1;
    enum sc_status st = SC_ERR_KERNEL;
    int scratch_fd = openat(cache_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (scratch_fd < 0) {
        st = refuse(b, "kernel cache folder %s: %s", b->config->cache, strerror(errno));
    } else {
        st = copy_sources(b, scratch_fd);
        if (st == SC_OK)
            st = compile(b, scratch_fd);
        if (st == SC_OK)
            st = publish(b, scratch_fd, cache_fd, object);
        close(scratch_fd);
    }
    remove_scratch(cache_fd, name);
    return st;
}

static enum sc_status put_path(struct build *b, char *path_out, size_t path_cap, const char *folder,
                               const char *object)
{
    if (snprintf(path_out, path_cap, "%s/%s", folder, object) >= (int)path_cap)
        return refuse(b, "the path %s/%s is too long", folder, object);
    return SC_OK;
}

static enum sc_status find_or_build(struct build *b, char *path_out, size_t path_cap)
{
    enum sc_status st = read_sources(b);
    if (st == SC_OK)
        st = make_key(b);
    if (st != SC_OK)
        return st;
    char object[KEY_HEX_BYTES + 16];
    snprintf(object, sizeof object, "prebuilt/%s.so", b->key);
    if (has_object(b->package_fd, object))
        return put_path(b, path_out, path_cap, b->manifest->folder, object);
    snprintf(object, sizeof object, "%s.so", b->key);
    int cache_fd = -1;
    st = open_cache(b, &cache_fd);
    if (st != SC_OK)
        return st;
    if (!has_object(cache_fd, object))
        st = build_object(b, cache_fd, object);
    close(cache_fd);
    return st == SC_OK ? put_path(b, path_out, path_cap, b->config->cache, object) : st;
}

enum sc_status gpu_kernel_build(const struct gpu_manifest *m, const struct gpu_build_config *config,
                                char *path_out, size_t path_cap, char *error)
{
    struct build *b = calloc(1, sizeof *b);
    if (b == NULL) {
        snprintf(error, GPU_KERNEL_TEXT_BYTES, "out of memory");
        return SC_ERR_KERNEL;
    }
    b->manifest = m;
    b->config = config;
    b->error = error;
    b->package_fd = gpu_package_open(m->folder);
    enum sc_status st = SC_ERR_KERNEL;
    if (b->package_fd < 0) {
        st = refuse(b, "kernel package %s: %s", m->folder, strerror(errno));
    } else {
        st = find_or_build(b, path_out, path_cap);
        close(b->package_fd);
    }
    for (uint32_t i = 0; i < m->source_count; i++)
        free(b->source[i]);
    free(b);
    return st;
}
