package fan

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/rpc"
	"tracker/pkg/track"
)

// Dialer opens lines to one server.
type Dialer struct {
	Transport Transport
	Dial      func(ctx context.Context) (net.Conn, error) // such as rpcload.Target's
	Host      string                                      // HOST:PORT, for the head of HTTP
	Token     string
	Agent     string
	Window    int // frames that a server may send ahead, over RPC; 0: as many as it allows
}

// Open connects and shakes hands.
func (d *Dialer) Open(ctx context.Context) (*Line, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nc, err := d.Dial(ctx)
	if err != nil {
		return nil, err
	}
	w, err := d.greet(ctx, nc)
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("connect over %s: %w", d.Transport, err)
	}
	return newLine(nc, w), nil
}

func (d *Dialer) greet(ctx context.Context, nc net.Conn) (wire, error) {
	if d.Transport == WS {
		return &wsWire{}, d.upgrade(ctx, nc)
	}
	h := rpc.Hello{Client: d.Agent}
	if d.Token != "" {
		h.AuthKind, h.Auth = rpc.AuthBearer, []byte(d.Token)
	}
	w, err := rpc.Greet(ctx, nc, h)
	switch rpc.StatusOf(err) {
	case rpc.Unauthenticated, rpc.PermissionDenied:
		return nil, fmt.Errorf("%w: %w", track.ErrDenied, err)
	}
	if err != nil {
		return nil, err
	}
	return newRPCWire(d.Window, &w), nil
}

// upgrade turns a connection of HTTP into a WebSocket.
func (d *Dialer) upgrade(ctx context.Context, nc net.Conn) error {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	ask := "GET /v1/stream HTTP/1.1\r\nHost: " + d.Host + "\r\nUser-Agent: " + d.Agent +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n"
	if d.Token != "" {
		ask += "Authorization: Bearer " + d.Token + "\r\n"
	}
	if _, err := nc.Write([]byte(ask + "\r\n")); err != nil {
		return err
	}
	head, err := readHead(nc)
	if err != nil {
		return err
	}
	return checkUpgrade(nc, head, key)
}

// mostHead is the longest head of an answer.
const mostHead = 16 << 10

// readHead reads the head of an answer and not a byte behind it: what follows are
// frames already.
func readHead(nc net.Conn) (string, error) {
	var head []byte
	for len(head) < mostHead {
		var b [1]byte
		if _, err := nc.Read(b[:]); err != nil {
			return "", err
		}
		head = append(head, b[0])
		if bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			return string(head), nil
		}
	}
	return "", protocol("an answer with a head of more than %d bytes", mostHead)
}

func checkUpgrade(nc net.Conn, head, key string) error {
	status, rest, _ := strings.Cut(head, "\r\n")
	proto, words, _ := strings.Cut(status, " ")
	if !strings.HasPrefix(proto, "HTTP/1.") {
		return protocol("an answer that begins with %.40q", status)
	}
	switch {
	case strings.HasPrefix(words, "101"):
	case strings.HasPrefix(words, "401"), strings.HasPrefix(words, "403"):
		return fmt.Errorf("the server answered %s: %w", words, track.ErrDenied)
	case strings.HasPrefix(words, "503"), strings.HasPrefix(words, "429"):
		return fmt.Errorf("the server answered %s%s: %w", words, reason(nc), client.ErrUnreachable)
	default:
		return protocol("the server answered %s, want a WebSocket", words)
	}
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // of RFC 6455
	sum := sha1.Sum([]byte(key + guid))
	want := base64.StdEncoding.EncodeToString(sum[:])
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") && strings.TrimSpace(value) == want {
			return nil
		}
	}
	return protocol("an answer that accepts another WebSocket than ours")
}

// reason is what the body of a refusal says, if it says it soon.
func reason(nc net.Conn) string {
	_ = nc.SetReadDeadline(time.Now().Add(time.Second))
	var b [1024]byte
	n, _ := nc.Read(b[:])
	var body struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(b[:n], &body) != nil || body.Error.Message == "" {
		return ""
	}
	return ": " + body.Error.Message
}

// Reporter writes reports of one device, one fix each, without allocating.
type Reporter struct{ as report }

type report interface {
	append(dst []byte, id uint32, ms int64, at geo.Point) []byte
}

// NewReporter makes the reports of a device ready.
func NewReporter(t Transport, id track.DeviceID) *Reporter {
	if t == WS {
		return &Reporter{newWSReport(id)}
	}
	return &Reporter{newRPCReport(id)}
}

// FirstReport is the number of the first report on a connection; others count up.
const FirstReport = firstReport

// Append appends a report that the server answers with id.
func (r *Reporter) Append(dst []byte, id uint32, ms int64, at geo.Point) []byte {
	return r.as.append(dst, id, ms, at)
}
