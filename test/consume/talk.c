/* SPDX-License-Identifier: MIT */
/* What each of the projects here builds: two ends of a link in one process, which send
 * each other a message. Prints "talked". */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "eshm.h"

static ESHMHandle* open_end(const char* name, enum ESHMRole role) {
  ESHMConfig config = eshm_default_config(name);
  ESHMHandle* link;
  config.role = role;
  config.stale_threshold_ms = 30000;
  link = eshm_init(&config);
  if (link == NULL) fprintf(stderr, "%s\n", eshm_last_error(NULL));
  return link;
}

int main(void) {
  char name[64];
  char text[16] = "";
  ESHMHandle* master;
  ESHMHandle* slave;
  snprintf(name, sizeof name, "consume_talk_%ld", (long)getpid());
  master = open_end(name, ESHM_ROLE_MASTER);
  slave = open_end(name, ESHM_ROLE_SLAVE);
  if (master == NULL || slave == NULL) return 1;
  if (eshm_write(master, "down", 5) != ESHM_SUCCESS) return 2;
  if (eshm_read(slave, text, sizeof text) != 5 || strcmp(text, "down") != 0) return 3;
  if (eshm_write(slave, "up", 3) != ESHM_SUCCESS) return 4;
  if (eshm_read(master, text, sizeof text) != 3 || strcmp(text, "up") != 0) return 5;
  if (eshm_destroy(slave) != ESHM_SUCCESS || eshm_destroy(master) != ESHM_SUCCESS) return 6;
  printf("talked\n");
  return 0;
}
