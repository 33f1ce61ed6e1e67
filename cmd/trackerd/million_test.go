package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// BenchmarkMillionDevices enrols a million devices over the API, lets each send one
// fix, and reports what the server weighs and how long it takes to start again.
// With -short it is twenty thousand, which says nothing but that it works.
func BenchmarkMillionDevices(b *testing.B) {
	n := 1_000_000
	if testing.Short() {
		n = 20_000
	}
	for b.Loop() {
		d := buildDaemon(b)
		d.start()
		begin := time.Now()
		enrolments := enrolAll(b, d, n)
		b.ReportMetric(time.Since(begin).Seconds(), "enrol-s")
		b.ReportMetric(d.rss(), "enrolled-MB")

		sendOneEach(b, d, enrolments)
		b.ReportMetric(d.rss(), "hot-MB")
		enrolments = nil
		d.stop()

		begin = time.Now()
		d.start()
		b.ReportMetric(time.Since(begin).Seconds(), "start-s")
		b.ReportMetric(d.rss(), "restarted-MB")
		st, err := d.conn.Status(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if st.Devices != n || st.Live != n {
			b.Errorf("after the restart %d devices, %d live, want %d", st.Devices, st.Live, n)
		}
		d.kill()
	}
}

func enrolAll(b *testing.B, d *daemon, n int) []seal.Enrolment {
	out := make([]seal.Enrolment, 0, n)
	for len(out) < n {
		asked := make([]client.NewDevice, min(client.MaxBatch, n-len(out)))
		for i := range asked {
			asked[i].Name = fmt.Sprintf("van-%07d", len(out)+i)
		}
		got, err := d.conn.EnrollBatch(context.Background(), asked)
		if err != nil {
			b.Fatal(err)
		}
		for i := range got {
			e, err := seal.ParseEnrolment(got[i].Enrolment)
			if err != nil {
				b.Fatal(err)
			}
			out = append(out, e)
		}
	}
	return out
}

// sendOneEach sends one fix of each device, again for those that the network lost.
func sendOneEach(b *testing.B, d *daemon, devices []seal.Enrolment) {
	udp := dial(b, d.udp)
	epoch := uint32(time.Now().Unix())
	for pid := uint32(0); ; pid++ {
		for i := range devices {
			e := &devices[i]
			f := track.Fix{Time: int64(epoch) * 1000, At: geo.Deg(float64(i%160)-80, float64(i%3600)/10-180), Has: track.HasPos}
			body, err := wire.AppendBody(nil, &wire.Body{Fixes: []track.Fix{f}})
			if err != nil {
				b.Fatal(err)
			}
			keys := seal.Derive(&e.Root, e.Suite, e.Device, epoch)
			pkt, err := seal.Seal(nil, seal.Header{Suite: e.Suite, Device: e.Device, Epoch: epoch, PID: pid}, &keys, body)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := udp.Write(pkt); err != nil {
				b.Fatal(err)
			}
			if i%200 == 199 {
				time.Sleep(time.Millisecond) // a sender on the same two cores must leave some to the server
			}
		}
		waitIdle(b, d)
		st, err := d.conn.Status(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if st.Live == len(devices) {
			return
		}
		if pid == 3 {
			b.Fatalf("only %d of %d devices have a fix: %v", st.Live, len(devices), st.Ingest)
		}
	}
}

// rss is the resident memory of the server in megabytes.
func (d *daemon) rss() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}
