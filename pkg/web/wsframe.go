package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// What one client may send in one go. All of it is checked on the header, before a
// byte of the payload is read or a byte of memory taken for it.
const (
	maxMessage       = 64 << 10  // bytes of a message, whole
	maxReportMessage = 128 << 10 // from who may report: the longest report has 80 KiB
	maxFragments     = 32        // frames of a message
	growStep         = 4 << 10   // memory taken ahead of what has arrived
	readBuffer       = 512       // per connection; requests are small
)

// Close codes of our own, from the range that RFC 6455 leaves to applications.
const (
	closeToken   ws.StatusCode = 4401 // token expired or revoked
	closeTooSlow ws.StatusCode = 4408 // took nothing for too long
)

// closing ends a session with a close code and a sentence.
type closing struct {
	code   ws.StatusCode
	reason string
}

func (c *closing) Error() string { return c.reason }

var (
	errFragments = &closing{ws.StatusPolicyViolation, "message in too many fragments"}
	errBinary    = &closing{ws.StatusUnsupportedData, "only text messages are understood"}
	errUTF8      = &closing{ws.StatusInvalidFramePayloadData, "message is not UTF-8"}
)

// frameReader takes the bytes of one client apart into messages. It is the first
// parser that a stranger with a token reaches, so it believes nothing.
type frameReader struct {
	r      *bufio.Reader
	header [ws.MaxHeaderSize]byte
	most   int     // bytes of a message
	msg    *parcel // that is being put together; nil: none is
	state  ws.State
	frags  int
}

// parcel is what has come of a message. It is lent, in sizes of which each is twice the
// one before: whoever sends nothing has none, and one of a size that many need is there
// when it is needed.
type parcel struct{ b []byte }

const (
	leastParcel = 512
	parcelSizes = 9 // the last is maxReportMessage
)

var parcels [parcelSizes]sync.Pool

// parcelOf lends one with room for n bytes.
func parcelOf(n int) *parcel {
	i := parcelSize(n)
	if p, ok := parcels[i].Get().(*parcel); ok {
		return p
	}
	return &parcel{make([]byte, 0, leastParcel<<i)}
}

func (p *parcel) free() {
	p.b = p.b[:0]
	parcels[parcelSize(cap(p.b))].Put(p)
}

func parcelSize(n int) int { return bits.Len(uint(max(n, leastParcel)-1) / leastParcel) }

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, readBuffer), most: maxMessage, state: ws.StateServerSide}
}

// await waits until something comes, with nothing of the last message kept.
func (f *frameReader) await() error {
	if !f.state.Fragmented() {
		f.forget()
	}
	_, err := f.r.Peek(1)
	return err
}

// next returns the next control frame, or the next whole text message. The payload
// stands until the call after. Errors are *closing where the client is told why, or
// what the connection said.
func (f *frameReader) next() (ws.OpCode, []byte, error) {
	for {
		h, err := ws.ReadHeaderBuffer(f.r, f.header[:0])
		if err != nil {
			return 0, nil, asProtocolError(err)
		}
		if err := f.check(h); err != nil {
			return 0, nil, err
		}
		if h.OpCode.IsControl() {
			payload, err := f.control(h)
			return h.OpCode, payload, err
		}
		if h.OpCode != ws.OpContinuation {
			f.forget()
			f.frags = 0
		}
		if err := f.take(h); err != nil {
			return 0, nil, err
		}
		if !h.Fin {
			f.state = f.state.Set(ws.StateFragmented)
			continue
		}
		f.state = f.state.Clear(ws.StateFragmented)
		msg := f.have()
		if !utf8.Valid(msg) {
			return 0, nil, errUTF8
		}
		return ws.OpText, msg, nil
	}
}

// have is what has come of the message.
func (f *frameReader) have() []byte {
	if f.msg == nil {
		return nil
	}
	return f.msg.b
}

func (f *frameReader) forget() {
	if f.msg != nil {
		f.msg.free()
		f.msg = nil
	}
}

// grow adds n bytes to the message, for what comes next of it.
func (f *frameReader) grow(n int) []byte {
	old := f.msg
	at := len(f.have())
	if old == nil || cap(old.b)-at < n {
		f.msg = parcelOf(at + n)
		if old != nil {
			f.msg.b = append(f.msg.b, old.b...)
			old.free()
		}
	}
	f.msg.b = f.msg.b[:at+n]
	return f.msg.b[at:]
}

// check judges a frame by its header alone.
func (f *frameReader) check(h ws.Header) error {
	if err := ws.CheckHeader(h, f.state); err != nil {
		return asProtocolError(err)
	}
	if h.OpCode.IsControl() {
		return nil // at most 125 bytes, as CheckHeader saw to
	}
	if h.OpCode == ws.OpBinary {
		return errBinary
	}
	have := 0
	if h.OpCode == ws.OpContinuation {
		have = len(f.have())
	}
	if h.Length < 0 || h.Length > int64(f.most-have) {
		return &closing{ws.StatusMessageTooBig, fmt.Sprintf("message larger than %d KiB", f.most>>10)}
	}
	if f.frags++; h.OpCode == ws.OpContinuation && f.frags > maxFragments {
		return errFragments
	}
	return nil
}

// take appends the payload of a frame to the message. Memory follows the bytes: a
// client that announces much and sends little costs little.
func (f *frameReader) take(h ws.Header) error {
	start := len(f.have())
	for left := int(h.Length); left > 0; {
		n := min(left, growStep)
		if _, err := io.ReadFull(f.r, f.grow(n)); err != nil {
			return err
		}
		left -= n
	}
	ws.Cipher(f.have()[start:], h.Mask, 0)
	return nil
}

func (f *frameReader) control(h ws.Header) ([]byte, error) {
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(f.r, payload); err != nil {
		return nil, err
	}
	ws.Cipher(payload, h.Mask, 0)
	if h.OpCode == ws.OpClose {
		return payload, checkClose(payload)
	}
	return payload, nil
}

// checkClose refuses a close frame that breaks the rules for its two parts.
func checkClose(payload []byte) error {
	if len(payload) == 0 {
		return nil
	}
	if len(payload) == 1 {
		return &closing{ws.StatusProtocolError, "close frame of one byte"}
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if code >= 3000 && code <= 4999 && utf8.ValidString(reason) {
		return nil // applications and frameworks; CheckCloseFrameData knows only the RFC's own
	}
	if err := ws.CheckCloseFrameData(code, reason); err != nil {
		return asProtocolError(err)
	}
	return nil
}

// asProtocolError gives the codec's complaints the close code that they deserve.
func asProtocolError(err error) error {
	var p ws.ProtocolError
	if errors.As(err, &p) || errors.Is(err, ws.ErrHeaderLengthMSB) || errors.Is(err, ws.ErrHeaderLengthUnexpected) {
		return &closing{ws.StatusProtocolError, err.Error()}
	}
	return err
}
