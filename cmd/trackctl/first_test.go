//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tracker/cmd/internal/clitest"
	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// startFleet starts a server that knows where so many devices are.
func startFleet(t testing.TB, n int) *clitest.Daemon {
	t.Helper()
	d, conn := startDaemon(t)
	var crew errgroup.Group
	crew.SetLimit(16)
	const atOnce = 500
	for first := 0; first < n; first += atOnce {
		var devices []client.NewDevice
		for i := first; i < min(first+atOnce, n); i++ {
			devices = append(devices, client.NewDevice{Name: fmt.Sprintf("van-%05d", i)})
		}
		enrolled, err := conn.EnrollBatch(t.Context(), devices)
		if err != nil {
			t.Fatal(err)
		}
		for i := range enrolled {
			at := geo.Deg(float64((first+i)%120-60), float64((first+i)*7%340-170))
			crew.Go(func() error {
				fix := client.Fix{Time: time.Now(), At: at, Has: track.HasPos | track.HasVel | track.HasBat, Speed: 20, Battery: 80}
				_, _, err := conn.Report(t.Context(), enrolled[i].Device.ID.String(), []client.Fix{fix})
				return err
			})
		}
	}
	if err := crew.Wait(); err != nil {
		t.Fatal(err)
	}
	return d
}

// The first frames of a large fleet are few bytes.
func TestFirstFrameOfTenThousandDevices(t *testing.T) {
	t.Parallel()
	const n, most = 10_000, 64 << 10
	d := startFleet(t, n)
	tm := open(t, d, 120, 40, "map")
	tm.sees("10,000 dev")
	tm.mu.Lock()
	sent := tm.raw.Len()
	tm.mu.Unlock()
	if sent > most {
		t.Errorf("%d bytes until the fleet was shown, at most %d are wanted", sent, most)
	}
	tm.sees("LIVE")
	tm.press("q")
	if code, left := tm.ends(); code != exitDone {
		t.Errorf("code %d\n%s", code, left)
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// rss is the most memory that a process has had so far, in megabytes.
func rss(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skipf("no /proc here: %v", err)
	}
	m := highWater.FindSubmatch(status)
	if m == nil {
		b.Fatalf("no VmHWM in\n%s", status)
	}
	kB, err := strconv.Atoi(string(m[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kB) / 1024
}

// BenchmarkFirstFrame runs trackctl map against a server with ten thousand devices: from the
// start of the process to the frame that shows them all, and how much memory that took, and
// took after a look at the whole and the near.
func BenchmarkFirstFrame(b *testing.B) {
	self := filepath.Join(b.TempDir(), "trackctl")
	if out, err := exec.Command("go", "build", "-o", self, "tracker/cmd/trackctl").CombinedOutput(); err != nil {
		b.Fatalf("build trackctl: %v\n%s", err, out)
	}
	d := startFleet(b, 10_000)
	var took time.Duration
	var first, later float64
	for b.Loop() {
		start := time.Now()
		tm := openAs(b, self, d, 120, 40, nil, "map")
		for !strings.Contains(tm.text(), "10,000 dev") {
			if time.Since(start) > terminalPatience {
				b.Fatalf("no devices:\n%s", tm.text())
			}
			time.Sleep(time.Millisecond)
		}
		took += time.Since(start)
		first = max(first, rss(b, tm.cmd.Process.Pid))
		for _, keys := range []string{"++++++", "0", "n", "z", "t", "0"} {
			before := tm.text()
			tm.press(keys)
			for tm.text() == before {
				time.Sleep(time.Millisecond)
			}
		}
		later = max(later, rss(b, tm.cmd.Process.Pid))
		tm.press("q")
		if code, left := tm.ends(); code != exitDone {
			b.Fatalf("code %d\n%s", code, left)
		}
	}
	b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/first-frame")
	b.ReportMetric(first, "MB-RSS-first")
	b.ReportMetric(later, "MB-RSS")
}
