package churn

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

// Transport is how a viewer speaks to a server.
type Transport int

// The transports.
const (
	RPC Transport = iota // FlatBuffers in frames, on a connection of their own
	WS                   // JSON over a WebSocket
)

func (t Transport) String() string {
	if t == WS {
		return "ws"
	}
	return "rpc"
}

// ParseTransport reads rpc or ws.
func ParseTransport(s string) (Transport, error) {
	switch s {
	case "rpc", "tcp":
		return RPC, nil
	case "ws":
		return WS, nil
	}
	return 0, fmt.Errorf("transport %q: want rpc or ws: %w", s, track.ErrInvalid)
}

// Door is where viewers go in.
type Door struct {
	Addr      string
	Transport Transport
	Token     string
	// Dial opens a connection; nil: plain TCP from the Sources.
	Dial    func(ctx context.Context) (net.Conn, error)
	Sources *load.Sources
	Within  time.Duration // for a visitor to see everything; 0: 10 s
}

// Viewer is one viewer. It belongs to one goroutine.
type Viewer struct {
	nc        net.Conn
	transport Transport
	within    time.Duration
	rest      []byte // read and not taken yet
	parts     []byte // of an update that goes on

	Connected, Greeted time.Time
	Bytes              int64 // read so far
}

const usualPatience = 10 * time.Second

// Enter connects and shakes hands.
func (d *Door) Enter(ctx context.Context) (*Viewer, error) {
	within := d.Within
	if within == 0 {
		within = usualPatience
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	nc, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	v := &Viewer{nc: nc, transport: d.Transport, within: within, Connected: time.Now()}
	_ = nc.SetDeadline(time.Now().Add(within))
	if d.Transport == WS {
		err = v.upgrade(ctx, d)
	} else {
		_, err = rpc.Greet(ctx, nc, d.hello())
	}
	v.Greeted = time.Now()
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return v, nil
}

func (d *Door) dial(ctx context.Context) (net.Conn, error) {
	if d.Dial != nil {
		return d.Dial(ctx)
	}
	return d.Sources.DialContext(ctx, "tcp", d.Addr)
}

func (d *Door) hello() rpc.Hello {
	h := rpc.Hello{Client: "trackbench", SchemaHash: trk.SchemaHash}
	if d.Token != "" {
		h.AuthKind, h.Auth = rpc.AuthBearer, []byte(d.Token)
	}
	return h
}

// ended lets a context end what a connection waits for.
func (v *Viewer) ended(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = v.nc.SetDeadline(time.Unix(1, 0)) })
}

// buffers are for what is read until a snapshot is whole; a viewer that stays has none.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// watchAll are the bytes that ask for everything.
var (
	watchAllRPC = func() []byte {
		b := rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindReq, ID: 1, Code: trk.WatchOpenID, Body: trk.AppendWatchReq(nil, &trk.WatchReqT{Area: &trk.AreaT{All: true}})})
		return rpc.AppendFrame(b, rpc.Frame{Kind: rpc.KindCredit, ID: 1, Body: binary.LittleEndian.AppendUint32(nil, 64)})
	}()
	watchAllWS = appendMasked(nil, opText, []byte(`{"op":"watch","id":1,"all":true}`))
)

// Watch asks for everything and returns when the snapshot is whole.
func (v *Viewer) Watch(ctx context.Context) error {
	defer v.ended(ctx)()
	_ = v.nc.SetDeadline(time.Now().Add(v.within))
	ask, take := watchAllRPC, v.takeRPC
	if v.transport == WS {
		ask, take = watchAllWS, v.takeWS
	}
	if _, err := v.nc.Write(ask); err != nil {
		return err
	}
	buf, _ := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 64<<10 {
			*buf = (*buf)[:0]
			buffers.Put(buf)
		}
	}()
	return v.until(buf, take)
}

// mostWaiting bounds a message of a server that may be anybody.
const mostWaiting = 16 << 20

// until reads until take has found what it looks for; what comes after that stays.
func (v *Viewer) until(buf *[]byte, take func(b []byte) (n int, done bool, err error)) error {
	b := append((*buf)[:0], v.rest...)
	v.rest = nil
	defer func() { *buf = b }()
	for {
		for len(b) > 0 {
			n, done, err := take(b)
			if err != nil {
				return err
			}
			b = b[:copy(b, b[n:])]
			if done {
				v.rest = bytes.Clone(b)
				return nil
			}
			if n == 0 {
				break
			}
		}
		if len(b) == cap(b) {
			if cap(b) >= mostWaiting {
				return fmt.Errorf("a message of more than %d MiB: %w", mostWaiting>>20, errProtocol)
			}
			b = append(b, 0)[:len(b)]
		}
		n, err := v.nc.Read(b[len(b):cap(b)])
		v.Bytes += int64(n)
		b = b[:len(b)+n]
		if err != nil && n == 0 {
			return err
		}
	}
}

var errProtocol = errors.New("the server does not speak as it should")

// takeRPC takes the first frame of b, if it is whole.
func (v *Viewer) takeRPC(b []byte) (n int, done bool, err error) {
	if len(b) < rpc.HeaderSize {
		return 0, false, nil
	}
	word := binary.LittleEndian.Uint32(b)
	n = rpc.HeaderSize + int(word&(1<<24-1))
	if len(b) < n {
		return 0, false, nil
	}
	f := rpc.Frame{Kind: rpc.Kind(word >> 24 & 15), Flags: uint8(word >> 28), ID: binary.LittleEndian.Uint32(b[4:]), Code: binary.LittleEndian.Uint16(b[8:]), Body: b[rpc.HeaderSize:n]}
	switch f.Kind {
	case rpc.KindRsp:
	case rpc.KindPing:
		_, err = v.nc.Write(rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindPong, ID: f.ID, Body: f.Body}))
	case rpc.KindEvent:
		done, err = v.snapshotIsWhole(&f)
	case rpc.KindErr, rpc.KindEnd, rpc.KindGoAway:
		if e := f.Failure(); e != nil {
			err = e
		} else {
			err = io.ErrUnexpectedEOF
		}
	default:
		err = fmt.Errorf("a frame of kind %d: %w", f.Kind, errProtocol)
	}
	return n, done, err
}

// more marks a frame whose message goes on in the next.
const more = 1

// snapshotIsWhole takes an update, or a part of one, and tells whether with it the last
// frame of the snapshot is there.
func (v *Viewer) snapshotIsWhole(f *rpc.Frame) (bool, error) {
	body := f.Body
	if f.Flags&more != 0 || len(v.parts) > 0 {
		if len(v.parts)+len(body) > mostWaiting {
			return false, fmt.Errorf("an update of more than %d MiB: %w", mostWaiting>>20, errProtocol)
		}
		v.parts = append(v.parts, body...)
		body = v.parts
	}
	if f.Flags&more != 0 {
		return false, nil
	}
	v.parts = nil
	if len(body) < 8 {
		return false, fmt.Errorf("an update of %d bytes: %w", len(body), errProtocol)
	}
	frame, err := trk.ReadWatchFrame(body[8:])
	if err != nil {
		return false, err
	}
	return frame.Kind() == trk.FrameKindSnapshot && !frame.More(), nil
}

// upgrade asks for a WebSocket and reads no byte beyond the answer.
func (v *Viewer) upgrade(ctx context.Context, d *Door) error {
	defer v.ended(ctx)()
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	ask := "GET /v1/stream HTTP/1.1\r\nHost: " + d.Addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
		base64.StdEncoding.EncodeToString(key[:]) + "\r\n"
	if d.Token != "" {
		ask += "Authorization: Bearer " + d.Token + "\r\n"
	}
	if _, err := io.WriteString(v.nc, ask+"\r\n"); err != nil {
		return err
	}
	buf, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	*buf = (*buf)[:0]
	return v.until(buf, func(b []byte) (int, bool, error) {
		head, _, whole := bytes.Cut(b, []byte("\r\n\r\n"))
		if !whole && len(b) > 16<<10 {
			return 0, false, errProtocol
		}
		if !whole {
			return 0, false, nil
		}
		return len(head) + 4, true, switched(head)
	})
}

// switched reads the first line of an answer.
func switched(head []byte) error {
	status, _, _ := strings.Cut(string(head), "\r\n")
	var code int
	if _, err := fmt.Sscanf(status, "HTTP/1.1 %d", &code); err != nil {
		return fmt.Errorf("%w: no HTTP", errProtocol)
	}
	switch code {
	case 101:
		return nil
	case 401, 403:
		return fmt.Errorf("the server answered %d: %w", code, track.ErrDenied)
	case 404:
		return fmt.Errorf("the server answered %d to /v1/stream, it is no trackerd: %w", code, track.ErrNotFound)
	case 429, 503:
		return fmt.Errorf("the server answered %d: %w", code, track.ErrUnavailable)
	}
	return fmt.Errorf("the server answered %d: %w", code, errProtocol)
}

// Leave closes the connection, after a word of goodbye where that is the custom.
func (v *Viewer) Leave() {
	if v.transport == WS {
		_ = v.nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = v.nc.Write(goodbye)
	}
	_ = v.nc.Close()
}

// Stay answers the server's pings until the connection ends or ctx does, and tells why.
// It needs little memory: what it reads is a ping, or for nobody.
func (v *Viewer) Stay(ctx context.Context) error {
	defer v.ended(ctx)()
	if ctx.Err() == nil {
		_ = v.nc.SetDeadline(time.Time{})
	}
	b := make([]byte, 0, 256)
	take := v.takeWS
	if v.transport == RPC {
		take = v.takeRPC
	}
	for {
		err := v.until(&b, take) // returns also for each update, which is thrown away
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// The kinds of failure.
const (
	refused     = "refused" // nobody listens
	reset       = "reset"
	timeout     = "timeout"
	closed      = "closed" // by the server, in the middle
	denied      = "denied"
	busy        = "busy" // the server has enough to do, and says so
	noPorts     = "no_local_port"
	noFiles     = "no_file"
	protocol    = "protocol"
	interrupted = "interrupted" // by whoever measures
)

// kindOf sorts an error into what one would do about it.
func kindOf(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return interrupted
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
		return noPorts
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return noFiles
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reset
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return timeout
	case errors.Is(err, track.ErrDenied), rpc.StatusOf(err) == rpc.Unauthenticated, rpc.StatusOf(err) == rpc.PermissionDenied:
		return denied
	case errors.Is(err, track.ErrUnavailable), rpc.StatusOf(err) == rpc.ResourceExhausted, rpc.StatusOf(err) == rpc.Unavailable:
		return busy
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return closed
	}
	return protocol
}

// InWords lets those who know only the words of the house see what an error of Run
// means.
func InWords(err error) error {
	switch kindOf(err) {
	case refused, reset, timeout, closed, noPorts:
		return fmt.Errorf("%w: %w", client.ErrUnreachable, err)
	case denied:
		return fmt.Errorf("%w: %w", track.ErrDenied, err)
	}
	return err
}
