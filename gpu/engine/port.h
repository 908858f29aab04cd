/* The few things that differ between a CPU thread and a GPU thread: function qualifiers, atomics,
 * pause. Orderings name what they publish or take; _sys ones are seen by the host too (system
 * scope), the others by this device only. On the GPU they are inline PTX, because neither clang nor
 * NVRTC without toolkit headers has <cuda/atomic>. */
#ifndef GPU_ENGINE_PORT_H
#define GPU_ENGINE_PORT_H

#include "gpu/engine/k_grain.h"

#if defined(K_DEVICE)

#define ENG_FN K_FN

ENG_FN uint32_t eng_load_acq32(const uint32_t *p)
{
    uint32_t v;
    asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}
ENG_FN uint32_t eng_load_acq32_sys(const uint32_t *p)
{
    uint32_t v;
    asm volatile("ld.acquire.sys.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}
ENG_FN uint64_t eng_load_acq64_sys(const uint64_t *p)
{
    uint64_t v;
    asm volatile("ld.acquire.sys.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
    return v;
}
ENG_FN uint32_t eng_load_rlx32(const uint32_t *p)
{
    uint32_t v;
    asm volatile("ld.relaxed.gpu.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}
ENG_FN uint64_t eng_load_rlx64(const uint64_t *p)
{
    uint64_t v;
    asm volatile("ld.relaxed.gpu.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
    return v;
}
ENG_FN void eng_store_rlx32(uint32_t *p, uint32_t v)
{
    asm volatile("st.relaxed.gpu.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
ENG_FN void eng_store_rel32(uint32_t *p, uint32_t v)
{
    asm volatile("st.release.gpu.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
ENG_FN void eng_store_rel32_sys(uint32_t *p, uint32_t v)
{
    asm volatile("st.release.sys.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
ENG_FN void eng_store_rel64_sys(uint64_t *p, uint64_t v)
{
    asm volatile("st.release.sys.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
}
ENG_FN void eng_store_rlx64_sys(uint64_t *p, uint64_t v)
{
    asm volatile("st.relaxed.sys.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
}
ENG_FN void eng_store_rlx32_sys(uint32_t *p, uint32_t v)
{
    asm volatile("st.relaxed.sys.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
/* Returns true when *p was *expected and is now desired; else writes what it saw to *expected. */
ENG_FN bool eng_cas32(uint32_t *p, uint32_t *expected, uint32_t desired)
{
    uint32_t old;
    asm volatile("atom.acq_rel.gpu.cas.b32 %0, [%1], %2, %3;"
                 : "=r"(old)
                 : "l"(p), "r"(*expected), "r"(desired)
                 : "memory");
    bool done = old == *expected;
    *expected = old;
    return done;
}
ENG_FN bool eng_cas64(uint64_t *p, uint64_t *expected, uint64_t desired)
{
    uint64_t old;
    asm volatile("atom.acq_rel.gpu.cas.b64 %0, [%1], %2, %3;"
                 : "=l"(old)
                 : "l"(p), "l"(*expected), "l"(desired)
                 : "memory");
    bool done = old == *expected;
    *expected = old;
    return done;
}
ENG_FN uint32_t eng_xchg32(uint32_t *p, uint32_t v)
{
    uint32_t old;
    asm volatile("atom.acq_rel.gpu.exch.b32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(v) : "memory");
    return old;
}
ENG_FN uint32_t eng_add32(uint32_t *p, uint32_t v)
{
    uint32_t old;
    asm volatile("atom.relaxed.gpu.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(v) : "memory");
    return old;
}
ENG_FN uint64_t eng_add64(uint64_t *p, uint64_t v)
{
    uint64_t old;
    asm volatile("atom.relaxed.gpu.add.u64 %0, [%1], %2;" : "=l"(old) : "l"(p), "l"(v) : "memory");
    return old;
}
ENG_FN void eng_pause(void)
{
    asm volatile("nanosleep.u32 64;" ::: "memory");
}

#else /* CPU */

#define ENG_FN static inline

ENG_FN uint32_t eng_load_acq32(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
ENG_FN uint32_t eng_load_acq32_sys(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
ENG_FN uint64_t eng_load_acq64_sys(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
ENG_FN uint32_t eng_load_rlx32(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}
ENG_FN uint64_t eng_load_rlx64(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}
ENG_FN void eng_store_rlx32(uint32_t *p, uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}
ENG_FN void eng_store_rel32(uint32_t *p, uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}
ENG_FN void eng_store_rel32_sys(uint32_t *p, uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}
ENG_FN void eng_store_rel64_sys(uint64_t *p, uint64_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}
ENG_FN void eng_store_rlx64_sys(uint64_t *p, uint64_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}
ENG_FN void eng_store_rlx32_sys(uint32_t *p, uint32_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}
/* Returns true when *p was *expected and is now desired; else writes what it saw to *expected. */
ENG_FN bool eng_cas32(uint32_t *p, uint32_t *expected, uint32_t desired)
{
    return __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}
ENG_FN bool eng_cas64(uint64_t *p, uint64_t *expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}
ENG_FN uint32_t eng_xchg32(uint32_t *p, uint32_t v)
{
    return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);
}
ENG_FN uint32_t eng_add32(uint32_t *p, uint32_t v)
{
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
ENG_FN uint64_t eng_add64(uint64_t *p, uint64_t v)
{
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
ENG_FN void eng_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif

/* Word-wise copy: the same code everywhere, and no call to a memcpy the device may not have. */
ENG_FN void eng_copy(void *to, const void *from, uint32_t bytes)
{
    uint8_t *d = (uint8_t *)to;
    const uint8_t *s = (const uint8_t *)from;
#if defined(K_DEVICE)
    for (uint32_t i = 0; i < bytes; i++)
        d[i] = s[i];
#else
    if (bytes != 0) /* an empty payload may be NULL */
        __builtin_memcpy(d, s, bytes);
#endif
}

ENG_FN void eng_zero(void *to, uint64_t bytes)
{
#if defined(K_DEVICE)
    uint64_t *d = (uint64_t *)to;
    for (uint64_t i = 0; i < bytes / 8; i++)
        d[i] = 0;
    uint8_t *tail = (uint8_t *)(d + bytes / 8);
    for (uint64_t i = 0; i < bytes % 8; i++)
        tail[i] = 0;
#else
    __builtin_memset(to, 0, bytes);
#endif
}

#endif
