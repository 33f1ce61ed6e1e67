package web

import (
	"bufio"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// What one client may send in one go. All of it is checked on the header, before a
// byte of the payload is read or a byte of memory taken for it.
const (
	maxMessage   = 64 << 10 // bytes of a message, whole
	maxFragments = 32       // frames of a message
	growStep     = 4 << 10  // memory taken ahead of what has arrived
	readBuffer   = 512      // per connection; requests are small
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
	errTooBig    = &closing{ws.StatusMessageTooBig, "message larger than 64 KiB"}
	errFragments = &closing{ws.StatusPolicyViolation, "message in too many fragments"}
	errBinary    = &closing{ws.StatusUnsupportedData, "only text messages are understood"}
	errUTF8      = &closing{ws.StatusInvalidFramePayloadData, "message is not UTF-8"}
)

// frameReader takes the bytes of one client apart into messages. It is the first
// parser that a stranger with a token reaches, so it believes nothing.
type frameReader struct {
	r      *bufio.Reader
	header [ws.MaxHeaderSize]byte
	msg    []byte // of the message that is being put together
	state  ws.State
	frags  int
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, readBuffer), state: ws.StateServerSide}
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
			f.msg, f.frags = f.msg[:0], 0
		}
		if err := f.take(h); err != nil {
			return 0, nil, err
		}
		if !h.Fin {
			f.state = f.state.Set(ws.StateFragmented)
			continue
		}
		f.state = f.state.Clear(ws.StateFragmented)
		if !utf8.Valid(f.msg) {
			return 0, nil, errUTF8
		}
		return ws.OpText, f.msg, nil
	}
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
		have = len(f.msg)
	}
	if h.Length < 0 || h.Length > int64(maxMessage-have) {
		return errTooBig
	}
	if f.frags++; h.OpCode == ws.OpContinuation && f.frags > maxFragments {
		return errFragments
	}
	return nil
}

// take appends the payload of a frame to the message. Memory follows the bytes: a
// client that announces much and sends little costs little.
func (f *frameReader) take(h ws.Header) error {
	start := len(f.msg)
	for left := int(h.Length); left > 0; {
		n := min(left, growStep)
		at := len(f.msg)
		f.msg = append(f.msg, make([]byte, n)...)
		if _, err := io.ReadFull(f.r, f.msg[at:]); err != nil {
			return err
		}
		left -= n
	}
	ws.Cipher(f.msg[start:], h.Mask, 0)
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
