package peers

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/load"
)

// ErrNoRedis says that there is no Redis to measure.
var ErrNoRedis = errors.New("redis-server and redis-benchmark are not in PATH; Debian has them in redis-server and redis-tools: apt-get install -y redis-server redis-tools")

// Redis is a redis-server of our own, without persistence, on a free port of loopback.
type Redis struct {
	*load.Child
	port  string
	seats load.Seats
	dir   string
	rates map[int]float64 // answers a second by depth, the last time
}

const (
	redisKey   = "bench"
	redisValue = "abcdefghijklmnopqrstuvwx" // 24 bytes, as many as a body of ours
)

// StartRedis starts one. ErrNoRedis if there is none.
func StartRedis(ctx context.Context, seats load.Seats) (*Redis, error) {
	for _, name := range []string{"redis-server", "redis-benchmark"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, ErrNoRedis
		}
	}
	dir, err := os.MkdirTemp("", "trackbench-redis-")
	if err != nil {
		return nil, err
	}
	r := &Redis{seats: seats, dir: dir, rates: map[int]float64{}}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Redis) start(ctx context.Context) (err error) {
	if r.port, err = FreePort(ctx); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := r.seats.Command(context.WithoutCancel(ctx), r.seats.Server, "redis-server", // Close ends it
		"--port", r.port, "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "")
	r.Child, err = load.StartChild(ready, cmd, "redis-server", func(l string) bool { return strings.Contains(l, "eady to accept connections") })
	if err != nil {
		return err
	}
	return r.set(ctx)
}

// FreePort finds a port that nobody listens on. Somebody may take it before the server
// does that is to have it; then that does not start, and says so.
func FreePort(ctx context.Context) (string, error) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// process is what the system tells about it, nil without a Redis.
func (r *Redis) process() *load.Process {
	if r == nil {
		return nil
	}
	return &r.Process
}

// set stores what is asked for later.
func (r *Redis) set(ctx context.Context) error {
	d := net.Dialer{Timeout: patience}
	nc, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", r.port))
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(nc, "SET %s %s\r\n", redisKey, redisValue); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	var answer [5]byte
	if _, err := nc.Read(answer[:]); err != nil || string(answer[:]) != "+OK\r\n" {
		return fmt.Errorf("redis answered SET with %q: %w", answer, err)
	}
	return nil
}

// Close ends the server and removes its directory.
func (r *Redis) Close() error {
	if r == nil {
		return nil
	}
	return errors.Join(r.Stop(), os.RemoveAll(r.dir))
}

// Measure asks for one value over and over, by redis-benchmark, on one connection at a
// depth. It does so often that it takes about as long as asked for.
func (r *Redis) Measure(ctx context.Context, depth int, warmup, duration time.Duration) (Figure, error) {
	rate := r.rates[depth]
	if rate == 0 { // the first time: find out how fast it is
		f, err := r.bench(ctx, depth, whole(50_000, depth))
		if err != nil {
			return f, err
		}
		rate = f.Rate()
	}
	if warmup > 0 {
		if _, err := r.bench(ctx, depth, atLeast(rate, warmup, depth)); err != nil {
			return Figure{}, err
		}
	}
	f, err := r.bench(ctx, depth, atLeast(rate, duration, depth))
	r.rates[depth] = f.Rate()
	return f, err
}

func atLeast(rate float64, d time.Duration, depth int) int64 {
	return whole(max(int64(rate*d.Seconds()), 4*int64(depth), 1000), depth)
}

// whole rounds up to whole pipelines. With a part of one, redis-benchmark ends with more
// answers than it was to get, and if it looks at its clock in that moment it takes that
// for a lost connection and fails.
func whole(n int64, depth int) int64 { return (n + int64(depth) - 1) / int64(depth) * int64(depth) }

func (r *Redis) bench(ctx context.Context, depth int, n int64) (Figure, error) {
	cmd := r.seats.Command(ctx, r.seats.Client, "redis-benchmark", "-h", "127.0.0.1", "-p", r.port, "-c", "1",
		"-P", strconv.Itoa(depth), "-n", strconv.FormatInt(n, 10), "--csv", "GET", redisKey)
	before, known := r.CPU()
	out, err := cmd.Output()
	after, known2 := r.CPU()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return Figure{}, fmt.Errorf("redis-benchmark: %w", errors.Join(err, ctx.Err()))
	}
	rate, err := parseRedis(out)
	if err != nil {
		return Figure{}, err
	}
	f := Figure{Calls: n, Took: time.Duration(float64(n) / rate * 1e9), ClientCPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if known && known2 {
		f.ServerCPU, f.ServerKnown = after-before, true
	}
	return f, nil
}

// parseRedis reads the requests a second from the CSV of redis-benchmark: a line of
// names and one of values, or before version 7 the values alone.
func parseRedis(out []byte) (float64, error) {
	bad := fmt.Errorf("redis-benchmark said %q", out)
	in := csv.NewReader(bytes.NewReader(out))
	in.FieldsPerRecord = -1
	rows, err := in.ReadAll()
	if err != nil || len(rows) == 0 || len(rows[len(rows)-1]) < 2 {
		return 0, bad
	}
	rate, err := strconv.ParseFloat(rows[len(rows)-1][1], 64)
	if err != nil || !(rate > 0) {
		return 0, bad
	}
	return rate, nil
}

// version is what redis-server says of itself.
func (r *Redis) version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("redis-server --version: %w", err)
	}
	for _, f := range strings.Fields(string(out)) {
		if v, ok := strings.CutPrefix(f, "v="); ok {
			return v, nil
		}
	}
	return strings.TrimSpace(string(out)), nil
}
