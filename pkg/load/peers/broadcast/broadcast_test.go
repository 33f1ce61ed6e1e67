package broadcast

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/leaktest"
)

// The test binary is the bare loop, when it is told so.
func TestMain(m *testing.M) {
	if os.Getenv("BROADCAST_BARE") != "" {
		if err := ServeBare(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(leaktest.Run(m))
}

// small is a measurement that says nothing but that it works.
func small(updates int) Shape {
	return Shape{Viewers: 8, Updates: updates, Bursts: 50, Warmup: 40 * time.Millisecond, Duration: 200 * time.Millisecond}
}

// trackerd builds the server, once for all tests.
func trackerd(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds trackerd")
	}
	path := filepath.Join(t.TempDir(), "trackerd")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "tracker/cmd/trackerd").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// works measures a target shortly, in two shapes on the same server.
func works(t *testing.T, target Target) {
	t.Helper()
	for _, u := range []int{1, 20} {
		shape := small(u)
		f, err := Measure(t.Context(), target, shape)
		if err != nil {
			t.Fatalf("%s: %v", target.Name(), err)
		}
		if err := f.Err(); err != nil {
			t.Errorf("%s: %v", target.Name(), err)
		}
		want := int64(f.Bursts) * int64(u*shape.Viewers)
		if f.Planned != 10 || f.Bursts < 1 || f.Deliveries != want || f.Latency.Count() != want || f.Bytes < want*Payload || f.Reads < 1 {
			t.Errorf("%s: %+v, want %d deliveries", target.Name(), f, want)
		}
	}
	if facts := target.Facts(); facts.Promise == "" || len(facts.Settings) == 0 {
		t.Errorf("%s tells little: %+v", target.Name(), facts)
	}
}

// peer starts one, or skips the test with the reason why it is not there.
func peer[T Target](t *testing.T, start func(context.Context, load.Seats) (T, error)) T {
	t.Helper()
	target, err := start(t.Context(), load.Seats{})
	if errors.Is(err, ErrAbsent) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

func TestRedisIsMeasured(t *testing.T) { works(t, peer(t, StartRedis)) }

func TestNATSIsMeasured(t *testing.T) { works(t, peer(t, StartNATS)) }

func TestMosquittoIsMeasured(t *testing.T) {
	for qos := range byte(2) {
		works(t, peer(t, func(ctx context.Context, s load.Seats) (*Mosquitto, error) { return StartMosquitto(ctx, s, qos) }))
	}
}

// The loop writes what our server sent: the same bytes to the viewer, and so many.
func TestOursAndTheBareLoopAreMeasured(t *testing.T) {
	path := trackerd(t)
	ours := peer(t, func(ctx context.Context, s load.Seats) (*Ours, error) { return StartOurs(ctx, s, path) })
	works(t, ours)
	for _, u := range []int{1, 20} {
		if err := ours.Sample(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("BROADCAST_BARE", "1")
	bare := peer(t, func(ctx context.Context, s load.Seats) (*Bare, error) {
		return StartBare(ctx, s, ours.Frame, os.Args[0])
	})
	works(t, bare)
}
