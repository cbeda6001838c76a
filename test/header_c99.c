/* SPDX-License-Identifier: MIT */
/* eshm.h as a C99 program includes it; every call with the types of its
 * documentation. Compiled, never run. */
#include "eshm.h"
#include "eshm_data.h"

static int stop(void* context) { return context != NULL; }

static void on_event(ESHMHandle* link, enum ESHMEvent event, void* context) {
  (void)link;
  (void)event;
  (void)context;
}

static void on_log(enum ESHMLogLevel level, const char* text, void* context) {
  (void)level;
  (void)text;
  (void)context;
}

static int on_link(const ESHMLinkInfo* link, void* context) {
  return link->state == ESHM_LINK_ABSENT && context != NULL;
}

int use_every_call(void);

int use_every_call(void) {
  ESHMConfig config = eshm_default_config("c99");
  ESHMHandle* link;
  ESHMHandle* links[1];
  ESHMStats stats;
  ESHMStatsEx stats_ex = {0};
  ESHMMessageInfo info = {0};
  ESHMView view = {0};
  ESHMLinkInfo outside = {0};
  enum ESHMRole role = ESHM_ROLE_AUTO;
  enum ESHMPeerState state = ESHM_PEER_NEVER_SEEN;
  bool alive = false;
  char buffer[ESHM_MAX_DATA_SIZE];
  size_t bytes = 0;
  void* loan = NULL;
  int code = ESHM_SUCCESS;

  config.role = ESHM_ROLE_MASTER;
  config.disconnect_behavior = ESHM_DISCONNECT_NEVER;
  config.backend = ESHM_BACKEND_SYSV;
  config.m2s.delivery = ESHM_DELIVERY_LATEST;
  config.flags = ESHM_FLAG_TIMESTAMPS | ESHM_FLAG_PREFAULT;
  config.spin_us = ESHM_SPIN_ADAPTIVE;
  config.interrupt = stop;
  eshm_set_log_callback(on_log, NULL);
  config.unread_policy = ESHM_UNREAD_DROP;
  bytes = (size_t)eshm_segment_size(&config);
  link = eshm_init(&config);
  links[0] = link;
  code += eshm_set_event_callback(link, on_event, NULL);
  code += eshm_write(link, "x", 1) + eshm_write_ex(link, "x", 1, ESHM_WAIT_FOREVER);
  code += eshm_read(link, buffer, sizeof buffer);
  code += eshm_read_ex(link, buffer, sizeof buffer, &bytes, 0);
  code += eshm_read_msg(link, buffer, sizeof buffer, &info, 0);
  code += eshm_loan(link, 1, &loan) + eshm_publish(link, loan, 1) + eshm_discard(link, loan);
  code += eshm_borrow(link, &view, 0) + eshm_release(link, &view);
  code += eshm_wait_any(links, 1, 0) + eshm_get_fd(link);
  code += eshm_update_heartbeat(link) + eshm_hold_heartbeat(link, true) +
          eshm_check_remote_alive(link, &alive);
  code += eshm_get_remote_state(link, &state) + eshm_get_role(link, &role);
  code += eshm_get_channel(link, ESHM_M2S, &config.m2s) + eshm_type_of("A{x:i8@0}1", &config.m2s.type);
  code += eshm_get_stats(link, &stats) + eshm_get_stats_ex(link, &stats_ex);
  code += eshm_list(on_link, &code) + eshm_inspect("x", &outside) + eshm_remove("x", 0);
  code += eshm_get_type_text("x", ESHM_M2S, buffer, sizeof buffer, &bytes);
  code += outside.state == ESHM_LINK_FINE && outside.m2s.written > outside.master.beats;
  code += eshm_destroy(link);
  return eshm_error_string(code) != NULL && eshm_last_error(&code) != NULL &&
         eshm_version() != NULL;
}
