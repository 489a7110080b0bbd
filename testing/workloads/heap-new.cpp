// Allocates and frees by every form of C++'s `new` and `delete`, and by malloc, in threads, and says what the heap's table holds in the end.
// Every block is freed, and its first and last byte are written and looked at: one that is not a thread's own would show.
//
//   heap-new [failing]
//
// "failing": more memory than there is is wanted as well. (mimalloc, built as C, ends a program whose `new` has none.)
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace {
constexpr std::size_t SLOTS = 512;
constexpr auto ALIGN = std::align_val_t(64);

struct Slot {
  unsigned char *block = nullptr;
  std::size_t size = 0;
  unsigned kind = 0;
};

void *make(unsigned kind, std::size_t size) {
  switch (kind) {
  case 0: case 1: return ::operator new(size);
  case 2: case 3: return ::operator new[](size);
  case 4: return ::operator new(size, std::nothrow);
  case 5: return ::operator new[](size, std::nothrow);
  case 6: case 7: return ::operator new(size, ALIGN);
  case 8: case 9: return ::operator new[](size, ALIGN);
  case 10: return ::operator new(size, ALIGN, std::nothrow);
  case 11: return ::operator new[](size, ALIGN, std::nothrow);
  default: return std::malloc(size);
  }
}

void drop(unsigned kind, void *block, std::size_t size) {
  switch (kind) {
  case 0: return ::operator delete(block);
  case 1: return ::operator delete(block, size);
  case 2: return ::operator delete[](block);
  case 3: return ::operator delete[](block, size);
  case 4: return ::operator delete(block, std::nothrow);
  case 5: return ::operator delete[](block, std::nothrow);
  case 6: return ::operator delete(block, ALIGN);
  case 7: return ::operator delete(block, size, ALIGN);
  case 8: return ::operator delete[](block, ALIGN);
  case 9: return ::operator delete[](block, size, ALIGN);
  case 10: return ::operator delete(block, ALIGN, std::nothrow);
  case 11: return ::operator delete[](block, ALIGN, std::nothrow);
  default: return std::free(block);
  }
}

void work(unsigned char mark, unsigned long *bytes) {
  static thread_local Slot slots[SLOTS];
  unsigned random = mark * 7919u + 1;
  for (int i = 0; i < 100000; i++) {
    random = random * 1664525u + 1013904223u;
    Slot &slot = slots[(random >> 8) % SLOTS];
    if (slot.block) {
      if (slot.block[0] != mark || slot.block[slot.size - 1] != mark) std::abort();
      drop(slot.kind, slot.block, slot.size);
    }
    slot.kind = (random >> 20) % 13;
    slot.size = (random >> 17) % 3000 + 1;
    slot.block = static_cast<unsigned char *>(make(slot.kind, slot.size));
    if (!slot.block || (slot.kind >= 6 && slot.kind < 12 && reinterpret_cast<std::size_t>(slot.block) % 64)) std::abort();
    slot.block[0] = slot.block[slot.size - 1] = mark;
    *bytes += slot.size;
  }
  for (Slot &slot : slots)
    if (slot.block) drop(slot.kind, slot.block, slot.size);
}

// More memory than there is: thrown, or said by a null.
bool fails_as_it_should() {
  volatile std::size_t much = std::size_t(1) << 60;
  int thrown = 0;
  try { drop(0, make(0, much), much); } catch (const std::bad_alloc &) { thrown++; }
  try { drop(2, make(2, much), much); } catch (const std::bad_alloc &) { thrown++; }
  try { drop(6, make(6, much), much); } catch (const std::bad_alloc &) { thrown++; }
  return thrown == 3 && !make(4, much) && !make(11, much);
}

// The words of the heap's table; null where there is none.
const unsigned long *find() {
  std::FILE *maps = std::fopen("/proc/self/maps", "r");
  char line[512];
  unsigned long start = 0;
  while (std::fgets(line, sizeof line, maps))
    if (std::strstr(line, "/memfd:flamekeeper-heap")) std::sscanf(line, "%lx", &start);
  std::fclose(maps);
  return reinterpret_cast<const unsigned long *>(start);
}
}  // namespace

// By this name, so that it can be called as a module of a program without C++ as well.
extern "C" int run(int failing) {
  const unsigned long *header = find();
  const unsigned long taken = header ? header[17] : 0, live = header ? header[18] : 0, freed = header ? header[19] : 0;
  unsigned long bytes[4] = {};
  {
    std::thread threads[4];
    for (int i = 0; i < 4; i++) threads[i] = std::thread(work, i + 1, &bytes[i]);
    for (std::thread &thread : threads) thread.join();
  }
  if (failing && !fails_as_it_should()) {
    std::puts("a failure was not told");
    return 1;
  }
  if (!header) {
    std::puts("no table");
    return 1;
  }
  std::printf("bytes %lu taken %lu live %ld freed %lu\n", bytes[0] + bytes[1] + bytes[2] + bytes[3], header[17] - taken, (long)(header[18] - live),
              header[19] - freed);
  std::fflush(stdout);
  return 0;
}

int main(int count, char **) { return run(count > 1); }
