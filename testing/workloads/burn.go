// The same three functions as `burn.cpp`, in Go: several goroutines, that also allocate, collect garbage and pass work over a
// channel. Each goroutine is locked to its thread, so that the thread's CPU clock tells what each function took.
//
//	burn SECONDS [GOROUTINES]
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var spent [3]counter

// As sync/atomic has it from Go 1.19 on.
type counter struct{ value int64 }

func (a *counter) add(value int64) { atomic.AddInt64(&a.value, value) }

var sink uint64

const clockThreadCPUTime = 3

func threadCPU() int64 {
	var now syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPUTime, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

// Inlined where it is called.
func mix(state uint64) uint64 {
	for i := 0; i < 100; i++ {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
	}
	return state
}

//go:noinline
func step(state uint64) uint64 { return mix(state) + 1 }

// The half of it is spent in a function without a frame.
func burn(which int, nanoseconds int64) uint64 {
	start := threadCPU()
	state := uint64(start) | 1
	for {
		for i := 0; i < 100; i++ {
			state = mix(state)
			state = step(state)
		}
		now := threadCPU()
		if now-start >= nanoseconds {
			spent[which].add(now - start)
			return state
		}
	}
}

//go:noinline
func burnHot() uint64 { return burn(0, 23_100_000) + 1 }

//go:noinline
func burnWarm() uint64 { return burn(1, 6_600_000) + 2 }

//go:noinline
func burnCool() uint64 { return burn(2, 3_300_000) + 3 }

//go:noinline
func work(until time.Time) uint64 {
	sum := uint64(0)
	for time.Now().Before(until) {
		sum += burnHot() + burnWarm() + burnCool()
	}
	return sum
}

func worker(until time.Time, done *sync.WaitGroup) {
	defer done.Done()
	runtime.LockOSThread()
	atomic.AddUint64(&sink, work(until))
}

// Garbage, and a channel that is busy all the time: for the runtime to have something to do.
func churn(until time.Time, done *sync.WaitGroup) {
	defer done.Done()
	values := make(chan []byte, 8)
	go func() {
		for time.Now().Before(until) {
			for i := 0; i < 20; i++ {
				values <- make([]byte, 1<<12)
			}
			time.Sleep(time.Millisecond)
		}
		close(values)
	}()
	kept := make([][]byte, 256)
	count := 0
	for value := range values {
		kept[count%len(kept)] = value
		count++
	}
	atomic.AddUint64(&sink, uint64(len(kept[0])))
}

func main() {
	seconds, goroutines := 10.0, 2
	if len(os.Args) > 1 {
		seconds, _ = strconv.ParseFloat(os.Args[1], 64)
	}
	if len(os.Args) > 2 {
		goroutines, _ = strconv.Atoi(os.Args[2])
	}
	fmt.Println("ready")
	until := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	var done sync.WaitGroup
	for i := 0; i < goroutines; i++ {
		done.Add(1)
		go worker(until, &done)
	}
	done.Add(1)
	go churn(until, &done)
	done.Wait()
	fmt.Printf("{\"main.burnHot\": %d, \"main.burnWarm\": %d, \"main.burnCool\": %d}\n", spent[0].value, spent[1].value, spent[2].value)
}
