package null

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// socket is one WebSocket. Its reader answers; the hub writes updates.
type socket struct {
	s   *Server
	nc  net.Conn
	out []byte

	mu sync.Mutex // of writing
}

func newSocket(s *Server, nc net.Conn) *socket { return &socket{s: s, nc: nc} }

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10

	mostHead = 16 << 10
)

// run shakes hands and reads until the connection ends.
func (c *socket) run() {
	defer c.s.hub.leave(c)
	b := make([]byte, mostHead)
	w := 0
	rest := -1
	for rest < 0 {
		n, err := c.nc.Read(b[w:])
		if w += n; err != nil || w == len(b) {
			return
		}
		if i := bytes.Index(b[:w], []byte("\r\n\r\n")); i >= 0 {
			rest = i + 4
		}
	}
	if _, err := io.WriteString(c.nc, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+accept(b[:rest])+"\r\n\r\n"); err != nil {
		return
	}
	w = copy(b, b[rest:w])
	for {
		used, ok := c.frames(b[:w])
		if !ok || c.flush() != nil {
			return
		}
		w = copy(b, b[used:w])
		if w == len(b) {
			return // a message longer than any that is answered
		}
		n, err := c.nc.Read(b[w:])
		if w += n; err != nil {
			return
		}
	}
}

// accept is the answer to the key of a handshake, RFC 6455 section 4.2.2.
func accept(head []byte) string {
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "Sec-WebSocket-Key") {
			sum := sha1.Sum([]byte(strings.TrimSpace(value) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
			return base64.StdEncoding.EncodeToString(sum[:])
		}
	}
	return ""
}

// frames takes the whole frames at the start of b.
func (c *socket) frames(b []byte) (used int, ok bool) {
	for {
		op, payload, n := cutMasked(b[used:])
		if n == 0 {
			return used, true
		}
		used += n
		switch op {
		case opText:
			if !c.message(payload) {
				return used, false
			}
		case opPing:
			c.out = append(appendHead(c.out, opPong, len(payload)), payload...)
		case opClose:
			return used, false
		}
	}
}

// cutMasked takes the first frame of a client and takes its mask off; n is 0 if it is
// not whole.
func cutMasked(b []byte) (op byte, payload []byte, n int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	head, length := 2, int(b[1]&127)
	switch length {
	case 126:
		if len(b) < 4 {
			return 0, nil, 0
		}
		head, length = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return opClose, nil, len(b) // longer than any that is answered
	}
	masked := b[1]&128 != 0
	if masked {
		head += 4
	}
	if n = head + length; len(b) < n {
		return 0, nil, 0
	}
	payload = b[head:n]
	if mask := b[max(0, head-4):head]; masked && (mask[0]|mask[1]|mask[2]|mask[3]) != 0 {
		for i := range payload {
			payload[i] ^= mask[i&3]
		}
	}
	return b[0] & 15, payload, n
}

func appendHead(dst []byte, op byte, n int) []byte {
	dst = append(dst, 128|op)
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

func appendText(dst []byte, s string) []byte { return append(appendHead(dst, opText, len(s)), s...) }

// ask is what a client may say.
type ask struct {
	Op     string `json:"op"`
	ID     uint32 `json:"id"`
	Device string `json:"device"`
	Fixes  []struct {
		Time json.Number `json:"time"`
		Lat  float64     `json:"lat"`
		Lon  float64     `json:"lon"`
	} `json:"fixes"`
}

// message answers; false ends the connection.
func (c *socket) message(b []byte) bool {
	var a ask
	if json.Unmarshal(b, &a) != nil {
		return false
	}
	switch a.Op {
	case "watch":
		c.out = appendText(c.out, fmt.Sprintf(`{"type":"watching","id":%d,"stream":1,"epoch":"0000000000000001"}`, a.ID))
		if c.flush() != nil {
			return false
		}
		c.s.hub.join(c)
	case "unwatch":
		c.s.hub.leave(c)
	case "report":
		n := c.s.hub.reportText(&a)
		c.out = appendText(c.out, fmt.Sprintf(`{"type":"reported","id":%d,"device":%q,"accepted":%d,"late":0}`, a.ID, a.Device, n))
	}
	return true
}

func (c *socket) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

func (c *socket) update(f *encoded) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.nc.Write(f.text)
	return err == nil
}
