// Keeps and drops known amounts of memory, and serves its heap profile: the bytes that net/http/pprof sends, which come from runtime/pprof. By
// bare system calls, since building the server of net/http takes a minute.
//
//	heap PORT TOKEN
//
// It keeps 64 blocks of 1 MiB from `remember`, and then one more every 100 ms up to 128; `forget` allocates 256 KiB each time and drops it. Each
// line of its output says how many bytes either has allocated by then. The profile wants the token: `Authorization: Bearer TOKEN`.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"
)

const block, crumb = 1 << 20, 256 << 10

var kept [][]byte
var last []byte

//go:noinline
func remember() { kept = append(kept, make([]byte, block)) }

//go:noinline
func forget() { last = make([]byte, crumb) }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// One request a connection.
func serve(port int, token string) {
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	check(err)
	check(syscall.SetsockoptInt(listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	check(syscall.Bind(listener, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	check(syscall.Listen(listener, 8))
	for {
		connection, _, err := syscall.Accept(listener)
		check(err)
		request := make([]byte, 0, 8192)
		for !bytes.Contains(request, []byte("\r\n\r\n")) && len(request) < 8192 {
			count, err := syscall.Read(connection, request[len(request):cap(request)])
			if count <= 0 || err != nil {
				break
			}
			request = request[:len(request)+count]
		}
		status, body := "401 Unauthorized", new(bytes.Buffer)
		if bytes.Contains(bytes.ToLower(request), []byte("\r\nauthorization: bearer "+token+"\r\n")) {
			// What is live is known to the runtime up to the last collection.
			runtime.GC()
			status = "200 OK"
			check(pprof.Lookup("heap").WriteTo(body, 0))
		}
		head := fmt.Sprintf("HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", status, body.Len())
		for rest := append([]byte(head), body.Bytes()...); len(rest) > 0; {
			count, err := syscall.Write(connection, rest)
			if err != nil {
				break
			}
			rest = rest[count:]
		}
		syscall.Close(connection)
	}
}

func main() {
	port, err := strconv.Atoi(os.Args[1])
	check(err)
	for i := 0; i < 64; i++ {
		remember()
	}
	go serve(port, os.Args[2])
	for turn := 1; ; turn++ {
		if len(kept) < 128 {
			remember()
		}
		forget()
		fmt.Println("kept", len(kept)*block, "dropped", turn*crumb)
		time.Sleep(100 * time.Millisecond)
	}
}
