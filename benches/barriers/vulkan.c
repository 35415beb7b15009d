/* Counts what a program records on Vulkan: dispatches, and the barriers between them.
 *
 * wgpu decides where barriers go, and reports nowhere how many there are. This library takes the
 * place of the Vulkan loader, passes every call on, and counts two commands. For each submission
 * with dispatches it prints how many there were. On Linux:
 *
 *     cc -shared -fPIC -O2 -o libvulkan.so.1 benches/barriers/vulkan.c -ldl
 *     LD_LIBRARY_PATH=. GPT_VULKAN=/usr/lib/x86_64-linux-gnu/libvulkan.so.1 \
 *         gpt bench --device gpu --model gpt2 --prefill 3 --decode 1 --reps 1
 *
 * It supports one recording thread and one device, as the engine has. The counts are in
 * docs/src/decisions/0023-one-barrier-per-dispatch.md.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Function)(void);
typedef Function (*GetProc)(void *, const char *);
typedef void (*Barrier)(void *, uint32_t, uint32_t, uint32_t, uint32_t, const void *, uint32_t,
                        const void *, uint32_t, const void *);

static GetProc instance_proc, device_proc;
static void (*dispatch)(void *, uint32_t, uint32_t, uint32_t);
static Barrier barrier;
static int (*submit)(void *, uint32_t, const void *, void *);
static int dispatches, barriers, between, pending;

static void count_dispatch(void *buffer, uint32_t x, uint32_t y, uint32_t z) {
    /* A barrier counts only between two dispatches. */
    if (dispatches++) between += pending;
    pending = 0;
    dispatch(buffer, x, y, z);
}

static void count_barrier(void *buffer, uint32_t from, uint32_t to, uint32_t flags, uint32_t n,
                          const void *memory, uint32_t m, const void *buffers, uint32_t k,
                          const void *images) {
    barriers++;
    pending++;
    barrier(buffer, from, to, flags, n, memory, m, buffers, k, images);
}

static int count_submit(void *queue, uint32_t n, const void *infos, void *fence) {
    if (dispatches) {
        fprintf(stderr, "submit: %d dispatches, %d barriers between them, %d in all\n", dispatches,
                between, barriers);
    }
    dispatches = barriers = between = pending = 0;
    return submit(queue, n, infos, fence);
}

static Function taken(const char *name, Function real) {
    if (!real) return real;
    if (!strcmp(name, "vkCmdDispatch")) {
        dispatch = (void *)real;
        return (Function)count_dispatch;
    }
    if (!strcmp(name, "vkCmdPipelineBarrier")) {
        barrier = (void *)real;
        return (Function)count_barrier;
    }
    if (!strcmp(name, "vkQueueSubmit")) {
        submit = (void *)real;
        return (Function)count_submit;
    }
    return real;
}

static Function device_function(void *device, const char *name) {
    return taken(name, device_proc(device, name));
}

Function vkGetInstanceProcAddr(void *instance, const char *name) {
    if (!instance_proc) {
        const char *path = getenv("GPT_VULKAN");
        if (!path) path = "/usr/lib/x86_64-linux-gnu/libvulkan.so.1";
        void *loader = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!loader) {
            fprintf(stderr, "no Vulkan loader: %s\n", dlerror());
            exit(1);
        }
        instance_proc = (GetProc)dlsym(loader, "vkGetInstanceProcAddr");
    }
    Function real = instance_proc(instance, name);
    if (!strcmp(name, "vkGetDeviceProcAddr")) {
        device_proc = (GetProc)real;
        return (Function)device_function;
    }
    return taken(name, real);
}
