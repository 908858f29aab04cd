#include "sidecar/demo_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: gpu-sidecar demo impact [--socket PATH] [--gateway HOST:PORT]\n"
    "           [--cluster-id ID] [--provider NAME] [--packages FILE|-] [--ask A,B,...]\n"
    "           [--expect FILE] [--calls N] [--rounds N] [--credits N] [--keep] [--json]\n"
    "       gpu-sidecar demo pick [--packages FILE|-]\n"
    "\n"
    "Makes every package of a Debian system a K-Grain and asks what breaks when one is removed.\n"
    "pick only prints the packages that impact would ask about, with commas between.\n"
    "\n"
    "  --socket PATH      the daemon's socket (/run/gpu-sidecar/gpu-sidecar.sock)\n"
    "  --gateway H:P      ask as an Orleans client does, and take the events of the stream\n"
    "  --cluster-id ID    of the gateway (default)\n"
    "  --provider NAME    of the streams (gpu)\n"
    "  --packages FILE    package list; - is standard input (/var/lib/dpkg/status)\n"
    "  --ask A,B,...      packages to ask about (the most needed ones and some others)\n"
    "  --expect FILE      what impact_oracle.py printed; else the host computes the answers\n"
    "  --calls N          calls for the latency figures (1000)\n"
    "  --rounds N         times all questions are asked at once (4)\n"
    "  --credits N        messages a question may have in flight (4096)\n"
    "  --keep             leave the grains active\n"
    "  --json             print one JSON object and nothing else\n";

bool sc_demo_read_number(const char *text, uint32_t max, uint32_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || text[0] == '-' || v > max)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool read_option(struct sc_demo_options *o, int key)
{
    switch (key) {
    case 's':
        o->socket = optarg;
        return true;
    case 'g':
        o->gateway = optarg;
        return true;
    case 'c':
        o->cluster_id = optarg;
        return true;
    case 'p':
        o->provider = optarg;
        return true;
    case 'f':
        o->packages = optarg;
        return true;
    case 'a':
        o->ask = optarg;
        return true;
    case 'e':
        o->expect = optarg;
        return true;
    case 'n':
        return sc_demo_read_number(optarg, 10000000, &o->calls);
    case 'r':
        return sc_demo_read_number(optarg, 10000, &o->rounds);
    case 'm':
        return sc_demo_read_number(optarg, 1u << 24, &o->credits) && o->credits > 0;
    case 'k':
        o->keep = true;
        return true;
    case 'j':
        o->json = true;
        return true;
    default:
        return false;
    }
}

static bool parse(struct sc_demo_options *o, int argc, char **argv)
{
    static const struct option rows[] = {{"socket", required_argument, NULL, 's'},
                                         {"gateway", required_argument, NULL, 'g'},
                                         {"cluster-id", required_argument, NULL, 'c'},
                                         {"provider", required_argument, NULL, 'p'},
                                         {"packages", required_argument, NULL, 'f'},
                                         {"ask", required_argument, NULL, 'a'},
                                         {"expect", required_argument, NULL, 'e'},
                                         {"calls", required_argument, NULL, 'n'},
                                         {"rounds", required_argument, NULL, 'r'},
                                         {"credits", required_argument, NULL, 'm'},
                                         {"keep", no_argument, NULL, 'k'},
                                         {"json", no_argument, NULL, 'j'},
                                         {NULL, 0, NULL, 0}};
    *o = (struct sc_demo_options){.socket = "/run/gpu-sidecar/gpu-sidecar.sock",
                                  .cluster_id = "default",
                                  .provider = "gpu",
                                  .packages = "/var/lib/dpkg/status",
                                  .calls = 1000,
                                  .rounds = 4,
                                  .credits = 4096};
    if (argc < 2 || (strcmp(argv[1], "impact") != 0 && strcmp(argv[1], "pick") != 0))
        return false;
    o->pick = argv[1][0] == 'p';
    optind = 2;
    for (int key = 0; (key = getopt_long(argc, argv, "", rows, NULL)) != -1;)
        if (!read_option(o, key))
            return false;
    return optind == argc;
}

bool sc_demo_options_read(struct sc_demo_options *o, int argc, char **argv)
{
    if (parse(o, argc, argv))
        return true;
    fputs(usage, stderr);
    return false;
}
