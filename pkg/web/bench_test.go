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

// BenchmarkSession tells what an idle WebSocket with one watch costs in memory of the
// process, both ends' sockets not counted.
func BenchmarkSession(b *testing.B) {
	h := newHouse(b, func(c *Config) { c.MaxPerAddress = 1 << 20 })
	h.enroll("van")
	const sessions = 2000
	for b.Loop() {
		var conns []net.Conn
		before := inUse()
		for range sessions {
			c := h.raw(fmt.Sprintf(handshake, h.addr, h.viewer, "") + string(clientFrame(1, true, []byte(`{"op":"watch","id":1,"all":true}`))))
			conns = append(conns, c)
		}
		for _, c := range conns {
			p, _ := upgrade(b, c)
			p.until(func(m msg) bool { return m.Type == "snapshot" && !m.More })
		}
		b.ReportMetric(float64(inUse()-before)/sessions, "B/session")
		for _, c := range conns {
			_ = c.Close()
		}
		for len(h.web.sessions.list()) > 0 {
			time.Sleep(time.Millisecond) // the sessions end by themselves
		}
	}
}

// inUse is the heap and the stacks after a collection. The client's halves are in it,
// too, but for their few hundred bytes.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
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
				p.watch(`{"op":"watch","id":1,"all":true}`)
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
