/* A program without C++ that loads a module with it, as interpreters do: heap-module MODULE. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
  void *module = dlopen(count > 1 ? arguments[1] : "", RTLD_NOW | RTLD_LOCAL);
  int (*run)(int) = NULL;
  if (module) *(void **)&run = dlsym(module, "run");
  if (!run) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  return run(1);
}
