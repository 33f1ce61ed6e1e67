package broadcast

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/peers"
	"tracker/pkg/load/peers/codec"
)

// channel is what all of them call what is published: equally long for all.
const channel = "bench"

// ErrAbsent says that a peer is not installed, and how to get it.
var ErrAbsent = errors.New("it is not installed")

func absent(program, how string) error {
	return fmt.Errorf("%w: there is no %s in PATH; %s", ErrAbsent, program, how)
}

// server is what the peers have in common: a process, a directory, a port of loopback.
type server struct {
	*load.Child
	addr  string
	dir   string
	facts Facts
}

func (s *server) Facts() Facts           { return s.facts }
func (s *server) Process() *load.Process { return &s.Child.Process }

func (s *server) Dial(ctx context.Context) (net.Conn, error) { return dialTCP(ctx, s.addr) }

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience} // Go sets NODELAY
	return d.DialContext(ctx, "tcp", addr)
}

func (s *server) Close() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.Stop(), os.RemoveAll(s.dir))
}

// launch starts a program in a directory of its own on a free port. args makes its
// arguments, and may write files there.
func launch(ctx context.Context, seats load.Seats, name string, args func(dir, port string) ([]string, error), ready func(line string) bool) (*server, error) {
	dir, err := os.MkdirTemp("", "trackbench-peer-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	port, err := peers.FreePort(ctx)
	var line []string
	if err == nil {
		s.addr = net.JoinHostPort("127.0.0.1", port)
		line, err = args(dir, port)
	}
	if err == nil {
		limit, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		cmd := seats.Command(context.WithoutCancel(ctx), seats.Server, line[0], line[1:]...) // Close ends it
		s.Child, err = load.StartChild(limit, cmd, name, ready)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// said is the first line that a program prints when it is asked for its version. Some of
// them end with a failure then.
func said(ctx context.Context, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, _ := exec.CommandContext(ctx, program, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// Redis is a redis-server without persistence.
type Redis struct{ *server }

// Settings of Redis that decide results. The limit of a subscriber's buffer is its own
// default: who lets more wait is disconnected.
var redisSettings = []string{
	"--save", "", "--appendonly", "no", "--io-threads", "1", "--client-output-buffer-limit", "pubsub 32mb 8mb 60",
	"--maxclients", "25000", "--hz", "10",
}

// StartRedis starts one; ErrAbsent if there is none.
func StartRedis(ctx context.Context, seats load.Seats) (*Redis, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, absent("redis-server", "Debian has it: apt-get install -y redis-server redis-tools")
	}
	s, err := launch(ctx, seats, "redis-server", func(dir, port string) ([]string, error) {
		return append([]string{program, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--daemonize", "no", "--logfile", ""}, redisSettings...), nil
	}, func(l string) bool { return strings.Contains(l, "eady to accept connections") })
	if err != nil {
		return nil, err
	}
	s.facts = Facts{Settings: flags(redisSettings), Confirms: true, Promise: "at most once; who reads too slowly is disconnected; a publisher is told how many got it"}
	for _, f := range strings.Fields(said(ctx, program, "--version")) {
		if v, ok := strings.CutPrefix(f, "v="); ok {
			s.facts.Version = v
		}
	}
	return &Redis{s}, nil
}

// flags puts options and their values together again, for people.
func flags(args []string) (list []string) {
	for i := 0; i+1 < len(args); i += 2 {
		value := args[i+1]
		if value == "" || strings.Contains(value, " ") {
			value = fmt.Sprintf("%q", value)
		}
		list = append(list, strings.TrimPrefix(args[i], "--")+" "+value)
	}
	return list
}

func (*Redis) Name() string { return "redis" }

func (*Redis) View(ctx context.Context, l *Line) error {
	ear := &codec.RESP{Channel: channel}
	l.Ear = ear
	return l.Greet(ctx, codec.AppendCommand(nil, "SUBSCRIBE", channel), func() bool { return ear.Subscribed })
}

func (*Redis) Publish(_ context.Context, l *Line, _ int) (Mouth, error) {
	l.Ear = &codec.RESP{}
	return mouth{salt: l.Salt, append: func(dst []byte, _ uint64, payload []byte) []byte {
		return codec.AppendRESPPublish(dst, channel, payload)
	}}, nil
}

// mouth makes bursts of single messages.
type mouth struct {
	salt   uint64
	append func(dst []byte, seq uint64, payload []byte) []byte
}

func (m mouth) Append(dst []byte, from uint64, n int, _ time.Time) []byte {
	var payload [Payload]byte
	for seq := from; seq < from+uint64(n); seq++ {
		dst = m.append(dst, seq, appendPayload(payload[:0], seq, m.salt))
	}
	return dst
}

// write puts a file of settings into a directory.
func write(dir, name string, lines []string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}
