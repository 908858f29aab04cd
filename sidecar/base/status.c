#include "sidecar/base/status.h"

const char *sc_status_name(enum sc_status st)
{
    switch (st) {
    case SC_OK:
        return "ok";
    case SC_AGAIN:
        return "again";
    case SC_ERR_NOT_FOUND:
        return "not_found";
    case SC_ERR_ARGUMENT:
        return "argument";
    case SC_ERR_TOO_LARGE:
        return "too_large";
    case SC_ERR_BUSY:
        return "busy";
    case SC_ERR_DEADLINE:
        return "deadline";
    case SC_ERR_CANCELLED:
        return "cancelled";
    case SC_ERR_UNAVAILABLE:
        return "unavailable";
    case SC_ERR_KERNEL:
        return "kernel";
    case SC_ERR_REJECTED:
        return "rejected";
    case SC_ERR_EXCEPTION:
        return "exception";
    case SC_ERR_PROTOCOL:
        return "protocol";
    case SC_ERR_LIMIT:
        return "limit";
    case SC_ERR_VERSION:
        return "version";
    case SC_ERR_CLOSED:
        return "closed";
    case SC_ERR_REFUSED:
        return "refused";
    case SC_ERR_IO:
        return "io";
    case SC_ERR_DEVICE:
        return "device";
    case SC_ERR_CONFIG:
        return "config";
    case SC_ERR_SYSTEM:
        return "system";
    case SC_ERR_NO_MEMORY:
        return "no_memory";
    }
    return "unknown";
}
