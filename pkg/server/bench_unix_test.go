//go:build unix

package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// BenchmarkStoredWhileWatched feeds the river in the process, from one goroutine and
// as fast as storing keeps up, while a WebSocket reads everything: fixes a second
// that are durable (synchronous=FULL), what they cost in CPU on all cores, and what
// they weigh on disk after compaction. Run it with -benchtime 60s.
func BenchmarkStoredWhileWatched(b *testing.B) {
	devices := 10_000
	if testing.Short() {
		devices = 100
	}
	r := startServer(b, nil)
	fleet := newFleet(b, r.srv.engine, devices)
	seen := watchEverything(b, r)
	cpu := cpuTime()
	begin := time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	batch := track.Batch{}
	fed := 0
	for fed < b.N {
		batch.Reset()
		for range min(64, b.N-fed) {
			batch.Fixes = append(batch.Fixes, fleet.next())
			fed++
		}
		r.srv.engine.Apply(&batch)
		for fed%6400 < 64 && r.srv.store.Status().Pending > 100_000 {
			time.Sleep(time.Millisecond) // the disk decides how fast this goes
		}
	}
	if err := r.srv.store.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	took := time.Since(begin)
	st := r.srv.store.Status()
	b.ReportMetric(float64(st.Stored)/took.Seconds(), "stored/s")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/fix")
	b.ReportMetric(float64(st.Lost), "lost")
	b.ReportMetric(float64(r.srv.engine.Status().Hub.Skipped), "skipped")
	if err := r.srv.store.Compact(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(fileBytes(b, r.dir))/float64(b.N), "file-B/fix")
	b.ReportMetric(float64(seen.Load())/float64(b.N), "watched-B/fix")
	if st.Stored != uint64(b.N) || st.Lost != 0 {
		b.Errorf("stored %d and lost %d of %d", st.Stored, st.Lost, b.N)
	}
}

// fleet moves devices like cars with noisy receivers: 15 m/s, 3 m of noise, altitude,
// speed, course and accuracy known.
type fleet struct {
	rnd   *rand.Rand
	ids   []track.DeviceID
	lat   []float64
	lon   []float64
	dir   []float64
	i     int
	round int
	begin int64
}

func newFleet(b *testing.B, e *engine.Engine, n int) *fleet {
	b.Helper()
	f := &fleet{rnd: rand.New(rand.NewPCG(1, 2)), begin: time.Now().UnixMilli() - 3_600_000}
	for len(f.ids) < n {
		var asked []engine.NewDevice
		for i := range min(10_000, n-len(f.ids)) {
			asked = append(asked, engine.NewDevice{Name: fmt.Sprintf("car-%d", len(f.ids)+i)})
		}
		out, err := e.Enroll(context.Background(), asked)
		if err != nil {
			b.Fatal(err)
		}
		for i := range out {
			f.ids = append(f.ids, out[i].Device.ID)
			f.lat = append(f.lat, 47+f.rnd.Float64()*6)
			f.lon = append(f.lon, 7+f.rnd.Float64()*7)
			f.dir = append(f.dir, f.rnd.Float64()*360)
		}
	}
	return f
}

func (f *fleet) next() track.Fix {
	i := f.i
	if f.i++; f.i == len(f.ids) {
		f.i, f.round = 0, f.round+1
	}
	f.dir[i] = math.Mod(f.dir[i]+f.rnd.NormFloat64()*5+360, 360)
	speed := 15 + f.rnd.NormFloat64()
	rad := f.dir[i] * math.Pi / 180
	f.lat[i] += speed * math.Cos(rad) / 111_000
	f.lon[i] += speed * math.Sin(rad) / 74_000
	ms := f.begin + int64(f.round)*1000
	return track.Fix{
		Device: f.ids[i], Wire: f.ids[i], Time: ms, Arrived: ms + 80 + f.rnd.Int64N(40),
		At:    geo.Deg(f.lat[i]+f.rnd.NormFloat64()*3/111_000, f.lon[i]+f.rnd.NormFloat64()*3/74_000),
		Epoch: uint32(f.begin / 1000), PID: uint32(f.round), Alt: int16(300 + f.rnd.NormFloat64()*5),
		Speed: uint16(speed * 100), Course: uint16(f.dir[i]*100) % 36000, Acc: uint8(60 + f.rnd.IntN(6)),
		Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc,
	}
}

// watchEverything opens a WebSocket on everything and counts the bytes that come.
func watchEverything(b *testing.B, r *running) *counted {
	b.Helper()
	c, err := net.Dial("tcp", r.tcp)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	token, err := os.ReadFile(r.dir + "/" + tokenFile)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(c, "GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer %s\r\n\r\n", strings.TrimSpace(string(token)))
	br := bufio.NewReaderSize(c, 64<<10)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("upgrade: %v, %v", resp, err)
	}
	ask := []byte(`{"op":"watch","id":1,"all":true}`)
	frame := append([]byte{0x81, 0x80 | byte(len(ask)), 0, 0, 0, 0}, ask...) // masked with zeros
	if _, err := c.Write(frame); err != nil {
		b.Fatal(err)
	}
	seen := new(counted)
	go func() { _, _ = io.Copy(seen, br) }() // ends with the connection
	b.Cleanup(func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	return seen
}

// counted counts what is written to it.
type counted struct{ atomic.Int64 }

func (c *counted) Write(b []byte) (int, error) {
	c.Add(int64(len(b)))
	return len(b), nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fileBytes is what the history of all days takes on disk.
func fileBytes(b *testing.B, dir string) (sum int64) {
	b.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), "fixes-") && strings.HasSuffix(e.Name(), ".db") {
			sum += info.Size()
		}
	}
	return sum
}
