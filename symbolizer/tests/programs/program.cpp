// Templates, inlining over several levels, lambdas, exceptions and a function in assembly.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>
#include <functional>

#ifndef N
#define N 0
#endif

template <typename T, int Depth> struct Nest {
    static inline T go(T value) { return Nest<T, Depth - 1>::go(value * 3 + Depth); }
};
template <typename T> struct Nest<T, 0> {
    static inline T go(T value) { return value ^ 0x55; }
};

__attribute__((noinline)) int work(int count, int *out) {
    int sum = N;
    for (int i = 0; i < count; i++) {
        sum += Nest<int, 6>::go(i);
        out[i & 7] = sum;
    }
    return sum;
}

namespace shapes {
struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};
struct Square : Shape {
    double side;
    explicit Square(double side) : side(side) {}
    double area() const override { return side * side; }
};
template <typename T, typename... Rest> double total(const T &first, const Rest &...rest) {
    if constexpr (sizeof...(rest) == 0) return first.area();
    else return first.area() + total(rest...);
}
}  // namespace shapes

template <typename Map> __attribute__((noinline)) size_t fill(Map &map, int count) {
    for (int i = 0; i < count; i++) map[std::to_string(i * 7919 % 1000)].push_back(i);
    size_t total = 0;
    for (auto &[key, values] : map) {
        std::sort(values.begin(), values.end(), [](int a, int b) { return a % 17 < b % 17; });
        total += key.size() + values.size();
    }
    return total;
}

__attribute__((noinline)) int risky(int value) {
    if (value % 3 == 0) throw std::runtime_error("three " + std::to_string(value));
    return value;
}

extern "C" int in_assembly(int value);
__asm__(
    ".text\n.globl in_assembly\n.type in_assembly, @function\nin_assembly:\n"
    "lea 1(%rdi), %eax\nnop\nnop\nnop\nnop\nret\n.size in_assembly, . - in_assembly\n");

int main(int argc, char **) {
    int out[8];
    int result = work(argc * 100, out) + in_assembly(argc);
    std::map<std::string, std::vector<int>> ordered;
    std::unordered_map<std::string, std::vector<int>> hashed;
    result += static_cast<int>(fill(ordered, 1000) + fill(hashed, 1000));
    shapes::Square one(1), two(2);
    result += static_cast<int>(shapes::total(one, two, one));
    std::variant<int, std::string> either = std::string("text");
    result += static_cast<int>(std::visit([](auto &value) { return sizeof(value); }, either));
    std::function<int(int)> add = [result](int more) { return result + more; };
    for (int i = 0; i < 5; i++) {
        try {
            result += risky(add(i));
        } catch (const std::exception &error) {
            result += static_cast<int>(std::string(error.what()).size());
        }
    }
    std::printf("%d\n", result);
    return 0;
}
