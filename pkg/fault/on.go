//go:build benchfault

package fault

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Suffix of the version, so that nobody takes this build for another.
const Suffix = "+benchfault"

// variable of the environment that says what is to be worse.
const variable = "TRACKERD_FAULT"

// exitCrash is the exit code of a crash that was asked for.
const exitCrash = 3

// active is nil while nothing is to be worse.
var active atomic.Pointer[faults]

// Start reads what is to be worse from the environment, and says so in the log. It is
// called once, before the server opens anything.
func Start(log *slog.Logger) error {
	text := os.Getenv(variable)
	if err := Set(text); err != nil {
		return err
	}
	log.Warn("THIS BUILD IS MADE TO BE WORSE ON DEMAND, SERVE NOBODY WITH IT", "build", "benchfault", "faults", text)
	if f := active.Load(); f != nil && f.crashAfter > 0 {
		time.AfterFunc(f.crashAfter, crash)
	}
	return nil
}

// Set makes worse what text says, in the form of the environment variable, and what was
// worse before is so no longer. Tests call it, before there is a server.
func Set(text string) error {
	f, err := parse(text)
	if err != nil {
		return err
	}
	if f != nil && f.cpu > 0 {
		f.turns = turnsIn(f.cpu)
	}
	active.Store(f)
	return nil
}

// crash lets nobody clean up.
func crash() { os.Exit(exitCrash) }

// Request is called before each handler.
func Request() {
	f := active.Load()
	if f == nil {
		return
	}
	if f.crashAt.due() {
		crash()
	}
	spin(f.turns)
	for range f.alloc {
		object()
	}
}

// object is too large for the allocator to put several into one.
//
//go:noinline
func object() *[24]byte { return new([24]byte) }

// Answers is called before gathered answers are written, with no lock held.
func Answers() {
	if f := active.Load(); f != nil && f.latency > 0 {
		nap(f.latency)
	}
}

// Sum is what Example.Sum says.
func Sum(sum int32) int32 {
	if f := active.Load(); f != nil && f.wrong.due() {
		return sum + 1
	}
	return sum
}

// Drop tells whether a frame is to be left out.
func Drop() bool {
	f := active.Load()
	return f != nil && f.drop.due()
}

// Split tells of a write of n bytes how many of them are to be written by themselves,
// first; 0: none.
func Split(n int) int {
	if f := active.Load(); f != nil && n > 1 && f.write.due() {
		return n / 2
	}
	return 0
}

// Conn is a connection as it was accepted, or one that is worse.
func Conn(c net.Conn) net.Conn {
	f := active.Load()
	if f == nil || f.write.percent == 0 && f.leak == 0 {
		return c
	}
	return &conn{Conn: c, leaked: bytes.Repeat([]byte{1}, f.leak)} // written, or the pages would not be there
}

// conn writes some of what it is given in two calls.
type conn struct {
	net.Conn
	leaked []byte
}

func (c *conn) Write(b []byte) (int, error) {
	at := Split(len(b))
	if at == 0 {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:at])
	if err != nil {
		return n, err
	}
	rest, err := c.Conn.Write(b[at:])
	return n + rest, err
}

// NetConn is the connection beneath, through which every byte passes unchanged.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite says that nothing more comes, where the connection beneath can say so.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// Metrics is a page of metrics without one that is not to be told.
func Metrics(page []byte) []byte {
	f := active.Load()
	if f == nil || f.mute == "" {
		return page
	}
	told := make([]byte, 0, len(page))
	for line := range bytes.Lines(page) {
		if metricOf(string(line)) != f.mute {
			told = append(told, line...)
		}
	}
	return told
}
