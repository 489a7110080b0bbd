/* A library that is loaded with RTLD_DEEPBIND, so that its calls find the C library before anything preloaded. */
#include <stdlib.h>
#include <string.h>

char *deep_make(size_t size) { return memset(malloc(size), 7, size); }
void deep_free(void *block) { free(block); }
