#include "gpu/catalog.h"

#include "gpu/package.h"
#include "gpu/version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_id(const char *text)
{
    if (*text < 'a' || *text > 'z' || strlen(text) >= GPU_KERNEL_ID_BYTES)
        return false;
    for (; *text != 0; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') || *text == '-'))
            return false;
    return true;
}

static bool is_folder(int at_fd, const char *name)
{
    struct stat info;
    return fstatat(at_fd, name, &info, 0) == 0 && S_ISDIR(info.st_mode);
}

/* The newest N.N.N folder of a kernel's folder into version (GPU_KERNEL_VERSION_BYTES). */
static bool find_newest(const char *folder, char *version)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return false;
    bool found = false;
    struct gpu_version best = {{0}};
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        struct gpu_version v;
        if (!gpu_version_parse(e->d_name, &v) || !is_folder(dirfd(dir), e->d_name))
            continue;
        if (found && gpu_version_compare(&v, &best) <= 0)
            continue;
        best = v;
        found = true;
    }
    closedir(dir);
    if (found)
        snprintf(version, GPU_KERNEL_VERSION_BYTES, "%u.%u.%u", best.part[0], best.part[1],
                 best.part[2]);
    return found;
}

static void read_manifest(struct gpu_catalog_entry *entry, const char *folder)
{
    int fd = gpu_package_open(folder);
    if (fd < 0) {
        snprintf(entry->error, sizeof entry->error, "%s: %s", folder, strerror(errno));
        return;
    }
    uint8_t *text = NULL;
    size_t len = 0;
    char error[GPU_KERNEL_TEXT_BYTES];
    if (gpu_package_read(fd, GPU_MANIFEST_FILE, GPU_MANIFEST_MAX_BYTES, &text, &len, error) !=
        SC_OK) {
        snprintf(entry->error, sizeof entry->error, "%.1900s", error);
    } else if (gpu_manifest_parse(span_of(text, len), &entry->manifest, error) != SC_OK) {
        snprintf(entry->error, sizeof entry->error, GPU_MANIFEST_FILE " %.1900s", error);
    }
    free(text);
    close(fd);
}

/* Fills an entry from <root>/<id>; id and version keep the folders' names when something is wrong.
 */
static enum sc_status read_entry(struct gpu_catalog_entry *entry, const char *root, const char *id)
{
    char version[GPU_KERNEL_VERSION_BYTES] = "";
    char *kernel_folder = NULL;
    char *folder = NULL;
    if (asprintf(&kernel_folder, "%s/%s", root, id) < 0)
        return SC_ERR_NO_MEMORY;
    if (!is_id(id))
        snprintf(entry->error, sizeof entry->error, "the folder's name is no kernel id");
    else if (!find_newest(kernel_folder, version))
        snprintf(entry->error, sizeof entry->error, "no version folder N.N.N");
    if (asprintf(&folder, "%s%s%s", kernel_folder, version[0] != 0 ? "/" : "", version) < 0) {
        free(kernel_folder);
        return SC_ERR_NO_MEMORY;
    }
    free(kernel_folder);
    struct gpu_manifest *m = &entry->manifest;
    if (entry->error[0] == 0)
        read_manifest(entry, folder);
    if (entry->error[0] == 0 && strcmp(m->id, id) != 0)
        snprintf(entry->error, sizeof entry->error, "kernel: '%s' is not the folder's name", m->id);
    if (entry->error[0] == 0 && strcmp(m->version, version) != 0)
        snprintf(entry->error, sizeof entry->error, "version: '%s' is not the folder's name",
                 m->version);
    if (entry->error[0] != 0) {
        snprintf(m->id, sizeof m->id, "%.*s", GPU_KERNEL_ID_BYTES - 1, id);
        memcpy(m->version, version, sizeof version);
    }
    m->folder = folder;
    return SC_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of the root's folders, sorted; hidden ones (.git, Kubernetes' ..data) are not packages.
 */
static enum sc_status list_ids(const char *root, char **ids, uint32_t *count_out, char *error)
{
    DIR *dir = opendir(root);
    if (dir == NULL) {
        snprintf(error, GPU_KERNEL_TEXT_BYTES, "kernel folder %s: %s", root, strerror(errno));
        return SC_ERR_CONFIG;
    }
    enum sc_status st = SC_OK;
    uint32_t count = 0;
    for (struct dirent *e = readdir(dir); e != NULL && st == SC_OK; e = readdir(dir)) {
        if (e->d_name[0] == '.' || !is_folder(dirfd(dir), e->d_name))
            continue;
        if (count == GPU_KERNELS_MAX) {
            snprintf(error, GPU_KERNEL_TEXT_BYTES, "kernel folder %s holds over %d kernels", root,
                     GPU_KERNELS_MAX);
            st = SC_ERR_CONFIG;
        } else if ((ids[count] = strdup(e->d_name)) == NULL) {
            st = SC_ERR_NO_MEMORY;
        } else {
            count++;
        }
    }
    closedir(dir);
    qsort(ids, count, sizeof ids[0], by_name);
    *count_out = count;
    return st;
}

enum sc_status gpu_catalog_read(const char *root, struct gpu_catalog *out, char *error)
{
    char *ids[GPU_KERNELS_MAX];
    uint32_t count = 0;
    struct gpu_catalog catalog = {0};
    error[0] = 0;
    enum sc_status st = list_ids(root, ids, &count, error);
    if (st == SC_OK) {
        catalog.entries = calloc(count != 0 ? count : 1, sizeof catalog.entries[0]);
        if (catalog.entries == NULL)
            st = SC_ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count && st == SC_OK; i++) {
        st = read_entry(&catalog.entries[i], root, ids[i]);
        catalog.count = i + 1;
    }
    for (uint32_t i = 0; i < count; i++)
        free(ids[i]);
    if (st != SC_OK) {
        gpu_catalog_free(&catalog);
        if (error[0] == 0)
            snprintf(error, GPU_KERNEL_TEXT_BYTES, "kernel folder %s: out of memory", root);
        return st;
    }
    *out = catalog;
    return SC_OK;
}

void gpu_catalog_free(struct gpu_catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (uint32_t i = 0; i < catalog->count; i++)
        free(catalog->entries[i].manifest.folder);
    free(catalog->entries);
    *catalog = (struct gpu_catalog){0};
}

int gpu_catalog_find(const struct gpu_catalog *catalog, struct span id)
{
    if (id.len == 0)
        return -1;
    uint32_t low = 0;
    uint32_t high = catalog->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const char *name = catalog->entries[mid].manifest.id;
        size_t len = strlen(name);
        int order = memcmp(name, id.ptr, len < id.len ? len : id.len);
        if (order == 0)
            order = (len > id.len) - (len < id.len);
        if (order == 0)
            return (int)mid;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return -1;
}
