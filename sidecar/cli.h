/* Subcommands of gpu-sidecar beside serve and worker. Each takes the arguments after its name and
 * returns the exit code. */
#ifndef SIDECAR_CLI_H
#define SIDECAR_CLI_H

int sc_cli_call(int argc, char **argv);
int sc_cli_kernels(int argc, char **argv);
int sc_cli_decode(int argc, char **argv);

/* For `serve`, `config` and `kernels`: a configuration from --config FILE, the environment and the
 * other flags. On failure one line is on stderr and the exit code is returned, else 0. *input keeps
 * pointing into argv. */
struct sc_config;
struct sc_config_input;
int sc_cli_config(char **argv, struct sc_config *config, struct sc_config_input *input);

#endif
