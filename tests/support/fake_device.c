#include "tests/support/fake_device.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gpu/abi/envelope.h"

void fake_device_init(struct gpu_device *dev, const struct gpu_device_ops *ops, void *user)
{
    memset(dev, 0, sizeof *dev);
    dev->ops = ops;
    dev->user = user;
    dev->state = GPU_DEVICE_READY;
    dev->epoch = 1;
    dev->generation = 1;
    dev->notify_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    dev->catalog = (struct gpu_catalog){.entries = dev->entries, .count = 2};
    struct gpu_manifest *m = &dev->entries[0].manifest;
    snprintf(m->id, sizeof m->id, "alpha");
    m->message_count = 1;
    m->messages[0] = (struct gpu_message_type){.name = "Do", .type = 1};
    m->event_count = 1;
    m->events[0] = (struct gpu_event_type){
        .name = "Done", .stream_namespace = "alphas", .type = 1, .encoding = GPU_EVENT_UTF8};
    snprintf(dev->entries[1].manifest.id, sizeof dev->entries[1].manifest.id, "broken");
}

void fake_device_fini(struct gpu_device *dev)
{
    close(dev->notify_fd);
}

static enum sc_status add(struct gpu_device *dev, struct fake_request request, struct span payload)
{
    if (dev->state != GPU_DEVICE_READY)
        return SC_ERR_UNAVAILABLE;
    if (dev->full || dev->count == FAKE_REQUESTS_MAX)
        return SC_AGAIN;
    request.len = payload.len < sizeof request.payload ? payload.len : sizeof request.payload;
    if (request.len != 0)
        memcpy(request.payload, payload.ptr, request.len);
    dev->requests[dev->count++] = request;
    return SC_OK;
}

enum sc_status gpu_device_activate(struct gpu_device *dev, uint32_t kernel, uint32_t state_bytes,
                                   struct span init, uint64_t call, uint64_t *handle_out)
{
    (void)state_bytes;
    if (kernel == 1)
        return SC_ERR_KERNEL;
    uint64_t handle = GPU_HANDLE(dev->generation, dev->slots);
    enum sc_status st =
        add(dev,
            (struct fake_request){
                .kind = FAKE_ACTIVATE, .handle = handle, .call = call, .kernel = kernel},
            init);
    if (st == SC_OK) {
        dev->slots++;
        *handle_out = handle;
    }
    return st;
}

enum sc_status gpu_device_deactivate(struct gpu_device *dev, uint64_t handle, uint64_t call)
{
    return add(dev, (struct fake_request){.kind = FAKE_DEACTIVATE, .handle = handle, .call = call},
               (struct span){0});
}

enum sc_status gpu_device_call(struct gpu_device *dev, uint64_t handle, uint16_t type,
                               struct span payload, uint64_t call)
{
    if (type != 1)
        return SC_ERR_ARGUMENT;
    return add(
        dev, (struct fake_request){.kind = FAKE_CALL, .handle = handle, .call = call, .type = type},
        payload);
}

enum sc_status gpu_device_send(struct gpu_device *dev, uint64_t handle, uint16_t type,
                               struct span payload)
{
    return add(dev, (struct fake_request){.kind = FAKE_SEND, .handle = handle, .type = type},
               payload);
}

void fake_device_reply(struct gpu_device *dev, uint32_t i, enum sc_status status, const char *text)
{
    uint64_t call = dev->requests[i].call;
    dev->requests[i].call = 0;
    struct span s = span_of_str(text);
    dev->ops->on_reply(dev->user, call, status, status == SC_OK ? s : (struct span){0},
                       status == SC_OK ? (struct span){0} : s);
}

void fake_device_crash(struct gpu_device *dev, const char *cause)
{
    dev->state = GPU_DEVICE_DOWN;
    for (uint32_t i = 0; i < dev->count; i++)
        if (dev->requests[i].call != 0)
            fake_device_reply(dev, i, SC_ERR_KERNEL, cause);
    dev->count = 0;
    dev->slots = 0;
    dev->generation++;
    dev->ops->on_state(dev->user, GPU_DEVICE_DOWN, cause);
}

void fake_device_restart(struct gpu_device *dev)
{
    dev->epoch++;
    dev->state = GPU_DEVICE_READY;
    dev->ops->on_state(dev->user, GPU_DEVICE_READY, "");
}

int gpu_device_notify_fd(const struct gpu_device *dev)
{
    return dev->notify_fd;
}

enum sc_status gpu_device_poll(struct gpu_device *dev, uint32_t max)
{
    (void)dev;
    (void)max;
    return SC_OK;
}

void gpu_device_tick(struct gpu_device *dev, uint64_t now_ns)
{
    (void)dev;
    (void)now_ns;
}

void gpu_device_stop(struct gpu_device *dev)
{
    dev->state = GPU_DEVICE_STOPPED;
}

void gpu_device_close(struct gpu_device *dev)
{
    (void)dev;
}

enum gpu_device_state gpu_device_state(const struct gpu_device *dev)
{
    return dev->state;
}

uint32_t gpu_device_epoch(const struct gpu_device *dev)
{
    return dev->epoch;
}

void gpu_device_stats(const struct gpu_device *dev, uint64_t now_ns, struct gpu_device_stats *out)
{
    (void)now_ns;
    *out = (struct gpu_device_stats){.grains = dev->slots};
}

const struct gpu_catalog *gpu_device_catalog(const struct gpu_device *dev)
{
    return &dev->catalog;
}

const char *gpu_device_limit(const struct gpu_device *dev)
{
    (void)dev;
    return "all grain slots are in use, the bound is 2 (device.grains_max)";
}

const char *gpu_device_kernel_error(const struct gpu_device *dev, uint32_t kernel)
{
    (void)dev;
    return kernel == 1 ? "it does not compile" : "";
}
