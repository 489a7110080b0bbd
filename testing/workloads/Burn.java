// The same three functions as burn.cpp, in Java, under some frames of recursion, in as many threads.
//
//     java [OPTIONS] Burn SECONDS THREADS
//
// SECONDS are of CPU time of each thread, so that a busy machine makes it slow and not short.
//
// Prints `ready`, and at its end the truth as JSON: CPU time of the worker threads by function. Other threads (compiler,
// garbage collector) are not in it.

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;

public final class Burn {
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final long[] SPENT = new long[3];
    private static volatile int sink;

    private static long now() {
        return THREADS.getCurrentThreadCpuTime();
    }

    static void burn_hot() {
        spend(0, 23_100_000);
    }

    static void burn_warm() {
        spend(1, 6_600_000);
    }

    static void burn_cool() {
        spend(2, 3_300_000);
    }

    private static void spend(int function, long nanoseconds) {
        long start = now();
        long end = start;
        int state = 1;
        while (end - start < nanoseconds) {
            state = mix(state);
            end = now();
        }
        sink = state;
        synchronized (SPENT) {
            SPENT[function] += end - start;
        }
    }

    private static int mix(int state) {
        for (int i = 0; i < 200_000; i++) {
            state = state * 1664525 + 1013904223;
        }
        return state;
    }

    private static void deep(int depth) {
        if (depth > 0) {
            deep(depth - 1);
        } else {
            burn_hot();
            burn_warm();
            burn_cool();
        }
    }

    static void work(long end) {
        while (now() < end) {
            deep(20);
        }
    }

    public static void main(String[] arguments) throws InterruptedException {
        System.out.println("ready");
        long end = (long) (Double.parseDouble(arguments[0]) * 1e9);
        Thread[] threads = new Thread[Integer.parseInt(arguments[1]) - 1];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = new Thread(() -> work(end), "worker");
            threads[i].start();
        }
        work(end);
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.printf("{\"burn_hot\":%d,\"burn_warm\":%d,\"burn_cool\":%d}%n", SPENT[0], SPENT[1], SPENT[2]);
    }
}
