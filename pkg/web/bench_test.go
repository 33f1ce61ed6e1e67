package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"tracker/pkg/track"
)

// BenchmarkIdleViewer tells what an idle WebSocket with one watch costs in memory of the
// process, both ends' sockets not counted.
func BenchmarkIdleViewer(b *testing.B) {
	h := newHouse(b, func(c *Config) { c.MaxPerAddress = 1 << 20 })
	h.apply(fixAt(h.enroll("van")[0], 1, 1, 1))
	const viewers = 2000
	for b.Loop() {
		before := inUse()
		conns := h.idleViewers(viewers)
		m := inUse()
		b.ReportMetric(float64(m.heap-before.heap)/viewers, "heap-B/viewer")
		b.ReportMetric(float64(m.stack-before.stack)/viewers, "stack-B/viewer")
		b.ReportMetric(float64(m.goroutines-before.goroutines)/viewers, "goroutines/viewer")
		for _, c := range conns {
			_ = c.Close()
		}
		for len(h.web.sessions.list()) > 0 {
			time.Sleep(time.Millisecond) // the sessions end by themselves
		}
	}
}

// idleViewers opens WebSockets that watch everything and have their snapshot.
func (h *house) idleViewers(n int) (conns []net.Conn) {
	h.t.Helper()
	for range n {
		conns = append(conns, h.raw(fmt.Sprintf(handshake, h.addr, h.viewer, "")+
			string(clientFrame(1, true, []byte(`{"op":"watch","id":1,"all":true}`)))))
	}
	for _, c := range conns {
		p, _ := upgrade(h.t, c)
		p.until(func(m msg) bool { return m.Type == "snapshot" && !m.More })
	}
	return conns
}

type usage struct{ heap, stack, goroutines int64 }

// inUse is what is taken after stacks have shrunk, which takes a few collections. The
// client's halves are in it, too, but for their few hundred bytes.
func inUse() usage {
	var m runtime.MemStats
	for range 5 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return usage{int64(m.HeapInuse), int64(m.StackInuse), int64(runtime.NumGoroutine())}
}

// BenchmarkFanOut applies batches of 100 fixes while viewers watch everything, and
// counts what they take.
func BenchmarkFanOut(b *testing.B) {
	for _, viewers := range []int{1, 100} {
		b.Run(fmt.Sprint(viewers), func(b *testing.B) {
			h := newHouse(b, func(c *Config) { c.MaxPerAddress = 1 << 20 })
			var names []string
			for i := range 1000 {
				names = append(names, fmt.Sprintf("van-%d", i))
			}
			ids := h.enroll(names...)
			for range viewers {
				p := h.dialPeer(h.viewer, "", "")
				p.snapshot(p.watch(`{"op":"watch","id":1,"all":true}`).Stream) // or it would hold some of what follows
				_ = p.c.SetReadDeadline(time.Time{})
				go func() { _, _ = io.Copy(io.Discard, bufio.NewReaderSize(p.r, 64<<10)) }()
			}
			fixes := make([]track.Fix, 100)
			n := 0
			before, began := h.engine.Status().Hub, time.Now()
			b.ReportAllocs()
			for b.Loop() {
				for i := range fixes {
					fixes[i] = fixAt(ids[n%1000], n/1000, 50, float64(n%100))
					n++
				}
				h.apply(fixes...)
			}
			// What was published is delivered, or skipped, before the clock stops.
			st := h.engine.Status().Hub
			for st.FixesOut+st.Skipped-before.Skipped < uint64(n)*uint64(viewers) {
				runtime.Gosched()
				st = h.engine.Status().Hub
			}
			took := time.Since(began).Seconds()
			b.ReportMetric(float64(st.FixesOut)/took, "deliveries/s")
			b.ReportMetric(float64(h.web.stats.bytesDirect.Load()+h.web.stats.bytesSlow.Load())/took/1e6, "MB/s")
		})
	}
}
