/* Fixed-width types where the device compiler has no <stdint.h>. */
#ifndef GPU_ABI_DEVICE_TYPES_H
#define GPU_ABI_DEVICE_TYPES_H

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
typedef long long int64_t;

#endif
