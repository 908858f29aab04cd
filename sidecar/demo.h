/* The command `demo`: a graph of packages as K-Grains, asked what breaks when one is removed. */
#ifndef SIDECAR_DEMO_H
#define SIDECAR_DEMO_H

/* Runs "gpu-sidecar demo ..."; argv[0] is the word "demo". Returns the exit code: 0 every answer
 * was right, 1 one was wrong or something failed, 2 the arguments are wrong. */
int sc_demo_main(int argc, char **argv);

#endif
