/* SPDX-License-Identifier: MIT */
/* A plug-in that opens a link, and closes it only if it is asked to. The host may carry
 * the handle over to the plug-in loaded again. */
#include <stddef.h>

#include "eshm.h"

int plugin_open(const char* name, int role);
int plugin_send(void);
int plugin_receive(void);
int plugin_close(void);
ESHMHandle** plugin_handle(void);

static ESHMHandle* handle;

int plugin_open(const char* name, int role) {
  ESHMConfig config = eshm_default_config(name);
  config.role = (enum ESHMRole)role;
  config.stale_threshold_ms = 30000;
  handle = eshm_init(&config);
  return handle != NULL ? ESHM_SUCCESS : ESHM_ERROR_SHM_ATTACH;
}

int plugin_send(void) { return eshm_write(handle, "plug", 5); }

int plugin_receive(void) {
  char text[8];
  return eshm_read_ex(handle, text, sizeof text, NULL, 5000);
}

int plugin_close(void) { return eshm_destroy(handle); }

ESHMHandle** plugin_handle(void) { return &handle; }
