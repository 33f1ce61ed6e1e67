//go:build linux

package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/hub"
	"tracker/pkg/rpc"
	"tracker/pkg/sock"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// viewersEnv makes the test binary a process of viewers that read and nothing else:
// what they say first, in hex.
const viewersEnv = "GATEWAY_TEST_VIEWERS"

func init() {
	if arg := os.Getenv(viewersEnv); arg != "" {
		viewersMain(arg)
		os.Exit(0)
	}
}

// greetings is what a viewer says: HELLO, a watch of everything, and credit for it.
func greetings(t testing.TB, token string) []byte {
	near, far := net.Pipe()
	said := make(chan []byte)
	go func() {
		b := make([]byte, 4096)
		n, _ := far.Read(b)
		far.Close()
		said <- b[:n]
	}()
	_, _ = rpc.Greet(context.Background(), near, bearer(token)) // far hangs up
	b := <-said
	b = rpc.AppendFrame(b, rpc.Frame{Kind: rpc.KindReq, ID: 1, Code: trk.WatchOpenID, Body: trk.AppendWatchReq(nil, all())})
	return rpc.AppendFrame(b, rpc.Frame{Kind: rpc.KindCredit, ID: 1, Body: binary.LittleEndian.AppendUint32(nil, 1<<16)})
}

// dialViewer connects without what Go adds to a connection, so that all memory that is
// seen is the server's.
func dialViewer(t testing.TB, to *net.TCPAddr, hello []byte) (fd int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	sa := &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}
	if err := syscall.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(fd, hello); err != nil {
		t.Fatal(err)
	}
	return fd
}

// vitals is the memory of this process by what it is for, after a collection.
type vitals struct{ stacks, heap, other, rss int64 }

func vitalsNow() (v vitals) {
	runtime.GC()
	debug.FreeOSMemory()
	s := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	v.stacks, v.heap = int64(s[0].Value.Uint64()), int64(s[1].Value.Uint64())
	v.other = int64(s[2].Value.Uint64()-s[3].Value.Uint64()) - v.stacks - v.heap
	b, _ := os.ReadFile("/proc/self/statm")
	pages, _ := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	v.rss = pages * int64(os.Getpagesize())
	return v
}

// BenchmarkIdleWatch is what a connection with a watch keeps while nothing happens.
func BenchmarkIdleWatch(b *testing.B) {
	const viewers = 4000
	for b.Loop() {
		h := newHouse(b, nil)
		hello := greetings(b, h.viewer)
		fds := make([]int, 0, viewers+1)
		dial := func() { fds = append(fds, dialViewer(b, h.ln.Addr().(*net.TCPAddr), hello)) }
		dial() // makes what all share
		watching := func(n int64) func() bool {
			return func() bool { s := h.gate.rpc.Stats(); return s.Subs == n && int64(s.Events) >= n }
		}
		eventually(b, "the first watches", watching(1))
		before := vitalsNow()
		for range viewers {
			dial()
		}
		eventually(b, "all watch", watching(viewers+1))
		eventually(b, "workers rest", func() bool { return runtime.NumGoroutine() < viewers+100 })
		after := vitalsNow()
		for _, m := range []struct {
			n    int64
			unit string
		}{{after.stacks - before.stacks, "B-stacks/conn"}, {after.heap - before.heap, "B-heap/conn"},
			{after.other - before.other, "B-other/conn"}, {after.rss - before.rss, "B-rss/conn"}} {
			b.ReportMetric(float64(m.n)/viewers, m.unit)
		}
		for _, fd := range fds {
			syscall.Close(fd)
		}
		h.stop()
	}
}

// viewersMain is the process of viewers. Each line that it reads is a number of bytes;
// it answers when as many have come.
func viewersMain(arg string) {
	words := strings.Fields(arg)
	hello, err := hex.DecodeString(words[2])
	if err != nil {
		panic(err)
	}
	n, _ := strconv.Atoi(words[1])
	var got atomic.Int64
	for range n {
		c, err := net.Dial("tcp", words[0])
		if err != nil {
			panic(err)
		}
		if _, err := c.Write(hello); err != nil {
			panic(err)
		}
		go func() { // ends with the process
			b := make([]byte, 16<<10)
			for {
				n, err := c.Read(b)
				if got.Add(int64(n)); err != nil {
					return
				}
			}
		}()
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		want, _ := strconv.ParseInt(in.Text(), 10, 64)
		for got.Load() < want {
			time.Sleep(100 * time.Microsecond)
		}
		fmt.Println(got.Load())
	}
}

// crowd is a process of viewers, and the server's ends of their connections.
type crowd struct {
	in    io.Writer
	out   *bufio.Reader
	conns []net.Conn
}

func startCrowd(b *testing.B, h *house, n int) *crowd {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%v %d %x", viewersEnv, ln.Addr(), n, greetings(b, h.viewer)))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	c := &crowd{in: in, out: bufio.NewReader(out)}
	ctx, stop := context.WithCancel(context.Background())
	var served sync.WaitGroup
	b.Cleanup(func() {
		stop()
		served.Wait()
		in.Close()
		cmd.Wait()
		ln.Close()
	})
	for range n {
		nc, err := ln.Accept()
		if err != nil {
			b.Fatal(err)
		}
		c.conns = append(c.conns, nc)
		served.Go(func() { h.gate.ServeConn(ctx, nc) })
	}
	return c
}

// read waits until the viewers have read that many bytes in all.
func (c *crowd) read(b *testing.B, total uint64) {
	fmt.Fprintln(c.in, total)
	if _, err := c.out.ReadString('\n'); err != nil {
		b.Fatal(err)
	}
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBroadcast1000 sends frames to a thousand viewers in another process, from the
// hub to their sockets, in turns with bare loops that write the same number of bytes to
// the same sockets. What both cost is this process's time on a processor; of-bare is the
// share of the floor in it.
func BenchmarkBroadcast1000(b *testing.B) {
	const viewers, turn = 1000, 20
	for _, n := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("fixes=%d", n), func(b *testing.B) {
			h := newHouseWith(b, hub.Config{MaxFrame: n}, nil)
			c := startCrowd(b, h, viewers)
			eventually(b, "all watch", func() bool { s := h.gate.rpc.Stats(); return s.Subs == viewers && s.Events >= viewers })
			writers := make([]*sock.Writer, viewers)
			for i, nc := range c.conns {
				writers[i] = sock.NewWriter(nc)
			}
			fixes := make([]track.Fix, n)
			var bare, ours time.Duration
			var extra, events uint64
			var wall, wallBare time.Duration
			sent := h.gate.rpc.Stats().BytesWritten
			c.read(b, sent)
			second, frames := 0, 0
			var mallocs uint64
			for b.Loop() {
				began, from, m := time.Now(), cpu(), mallocsNow()
				before := h.gate.rpc.Stats()
				for i := range uint64(turn) {
					second++
					for k := range fixes {
						fixes[k] = fixAt(track.DeviceID(k+1), second, 48, 11)
					}
					h.apply(fixes...)
					sentAll(h, before, (i+1)*viewers)
				}
				frames += turn
				after := h.gate.rpc.Stats()
				wall, ours, mallocs = wall+time.Since(began), ours+cpu()-from, mallocs+mallocsNow()-m
				events += after.Events - before.Events
				c.read(b, after.BytesWritten+extra)

				frame := make([]byte, (after.BytesWritten-before.BytesWritten)/(viewers*turn))
				began, from = time.Now(), cpu()
				writeBare(b, writers, frame, turn)
				wallBare, bare = wallBare+time.Since(began), bare+cpu()-from
				extra += uint64(len(frame) * viewers * turn)
				c.read(b, after.BytesWritten+extra)
			}
			each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(events) }
			b.ReportMetric(each(ours), "cpu-ns/write")
			b.ReportMetric(each(bare), "bare-ns/write")
			b.ReportMetric(100*bare.Seconds()/ours.Seconds(), "of-bare-%")
			b.ReportMetric(each(wall), "wall-ns/write")
			b.ReportMetric(each(wallBare), "bare-wall-ns/write")
			b.ReportMetric(float64(mallocs)/float64(frames), "allocs/frame")
		})
	}
}

// writeBare writes a frame to each, that many times, on as many goroutines as the hub has
// workers: the floor under what a broadcast can cost.
func writeBare(b *testing.B, writers []*sock.Writer, frame []byte, times int) {
	for range times {
		var done sync.WaitGroup
		n := runtime.GOMAXPROCS(0)
		for k := range n {
			done.Go(func() {
				for _, w := range writers[len(writers)*k/n : len(writers)*(k+1)/n] {
					if n, err := w.TryWrite(frame); err != nil || n < len(frame) {
						b.Errorf("%d of %d written: %v", n, len(frame), err)
					}
				}
			})
		}
		done.Wait()
		time.Sleep(500 * time.Microsecond) // the rhythm of sentAll: readers fall asleep in between
	}
}

// sentAll waits until that many writes have been made since.
func sentAll(h *house, since rpc.Stats, writes uint64) {
	for {
		if s := h.gate.rpc.Stats(); s.Events-since.Events >= writes && s.Writes-since.Writes >= writes {
			return
		}
		time.Sleep(500 * time.Microsecond) // seldom: what looking costs is counted, too
	}
}

func mallocsNow() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
