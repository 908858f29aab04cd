/* Any bytes as a manifest: parsed or refused with a text, nothing else. */
#include "gpu/catalog.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct gpu_manifest m;
    char error[GPU_KERNEL_TEXT_BYTES] = "";
    if (gpu_manifest_parse(span_of(data, len), &m, error) != SC_OK) {
        assert(memchr(error, 0, sizeof error) != NULL && error[0] != 0);
        return 0;
    }
    assert(m.id[0] != 0 && m.source_count > 0 && m.state_bytes <= m.state_max_bytes);
    assert(gpu_manifest_message_type(&m, 1) == NULL || m.message_count > 0);
    return 0;
}
