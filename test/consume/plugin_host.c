/* SPDX-License-Identifier: MIT */
/* Loads a plug-in, lets it open a link, and unloads it with the link open:
 *   plugin_host PLUGIN [PLUGIN]
 * With two plug-ins they first talk to each other, each by its own copy of the library.
 * The threads of the library have time to run before the host ends in order. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int call(void* plugin, const char* name) {
  int (*function)(void) = (int (*)(void))dlsym(plugin, name);
  if (function == NULL) exit(90);
  return function();
}

static void** handle_of(void* plugin) {
  void** (*function)(void) = (void** (*)(void))dlsym(plugin, "plugin_handle");
  if (function == NULL) exit(93);
  return function();
}

static void* load(const char* path, const char* link, int role) {
  void* plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  int (*open_link)(const char*, int);
  if (plugin == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    exit(91);
  }
  open_link = (int (*)(const char*, int))dlsym(plugin, "plugin_open");
  if (open_link == NULL || open_link(link, role) != 0) exit(92);
  return plugin;
}

int main(int argc, char** argv) {
  const struct timespec pause = {0, 200000000};
  char link[64];
  void* first;
  snprintf(link, sizeof link, "consume_plugin_%ld", (long)getpid());
  first = load(argv[1], link, 0);
  if (argc > 2) {
    void* second = load(argv[2], link, 1);
    if (call(first, "plugin_send") != 0) return 1;
    if (call(second, "plugin_receive") != 0) return 2;
    if (call(second, "plugin_send") != 0) return 3;
    if (call(first, "plugin_receive") != 0) return 4;
    if (call(second, "plugin_close") != 0) return 5;
    dlclose(second);
    if (call(first, "plugin_close") != 0) return 6;
  } else {
    void* handle = *handle_of(first);
    dlclose(first);
    nanosleep(&pause, NULL);
    first = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (first == NULL) return 8;
    *handle_of(first) = handle;
    if (call(first, "plugin_send") != 0 || call(first, "plugin_close") != 0) return 7;
  }
  dlclose(first);
  nanosleep(&pause, NULL);
  printf("talked\n");
  return 0;
}
