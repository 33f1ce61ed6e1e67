package codec

import (
	"bytes"
	"fmt"
	"strconv"
)

// NATS is what a client knows of one connection to NATS.
type NATS struct {
	Subject string // the only one whose messages may come
	Info    bool   // the server introduced itself
	Pongs   int64  // answers to our PINGs
	owed    []byte
}

const (
	natsSID  = "1"
	maxInfo  = 32 << 10 // the server's introduction names other servers, too
	natsPong = "PONG\r\n"
)

// AppendNATSConnect appends CONNECT. name is shown in the server's lists.
func AppendNATSConnect(dst []byte, name string) []byte {
	dst = append(dst, `CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"go","version":"1","protocol":1,"echo":false,"headers":false,"name":`...)
	return append(strconv.AppendQuote(dst, name), "}\r\n"...)
}

// AppendNATSSubscribe appends SUB.
func AppendNATSSubscribe(dst []byte, subject string) []byte {
	dst = append(append(dst, "SUB "...), subject...)
	return append(dst, " "+natsSID+"\r\n"...)
}

// AppendNATSPing appends PING. The answer comes after all that was written before took
// effect.
func AppendNATSPing(dst []byte) []byte { return append(dst, "PING\r\n"...) }

// AppendNATSPublish appends PUB.
func AppendNATSPublish(dst []byte, subject string, payload []byte) []byte {
	dst = append(append(append(dst, "PUB "...), subject...), ' ')
	dst = strconv.AppendInt(dst, int64(len(payload)), 10)
	dst = append(dst, "\r\n"...)
	return append(append(dst, payload...), "\r\n"...)
}

// Take hands out the messages in b and tells how many bytes of it are done with.
func (c *NATS) Take(b []byte, to Sink) (int, error) {
	done := 0
	for done < len(b) {
		n, err := c.one(b[done:], to)
		if n == 0 || err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// Owe is what the server wants back, good until the next Take.
func (c *NATS) Owe() []byte {
	b := c.owed
	c.owed = b[:0]
	return b
}

// one takes one operation, or 0 bytes when it is not whole.
func (c *NATS) one(b []byte, to Sink) (int, error) {
	most := maxLine
	if !c.Info {
		most = maxInfo
	}
	line, n, err := cutLine(b, most)
	if n == 0 || err != nil {
		return 0, err
	}
	if rest, ok := bytes.CutPrefix(line, []byte("MSG ")); ok && c.Info {
		return c.message(b, rest, n, to)
	}
	return n, c.control(line)
}

// message takes "MSG subject sid size" and the payload behind. Nobody asks us, so there
// is no subject to answer to.
func (c *NATS) message(b, rest []byte, n int, to Sink) (int, error) {
	subject, rest, _ := bytes.Cut(rest, []byte(" "))
	sid, length, _ := bytes.Cut(rest, []byte(" "))
	if string(subject) != c.Subject || string(sid) != natsSID {
		return 0, broken(errProtocol, "nats: of another subject", b)
	}
	size, ok := number(length, MaxPayload)
	if !ok {
		return 0, broken(errProtocol, "nats: a size", length)
	}
	end := n + size
	if len(b) < end+2 {
		return 0, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return 0, broken(errProtocol, "nats: no end of a message", b)
	}
	return end + 2, to.Message(b[n:end])
}

func (c *NATS) control(line []byte) error {
	switch {
	case bytes.HasPrefix(line, []byte("INFO {")):
		c.Info = true // it may come again, when the cluster changes
		return nil
	case bytes.HasPrefix(line, []byte("-ERR ")):
		return fmt.Errorf("nats: %s", line[len("-ERR "):])
	case !c.Info:
	case string(line) == "PING":
		if len(c.owed) > maxLine {
			return broken(errTooLong, "nats: pings", nil)
		}
		c.owed = append(c.owed, natsPong...)
		return nil
	case string(line) == "PONG":
		c.Pongs++
		return nil
	case string(line) == "+OK":
		return nil
	}
	return broken(errProtocol, "nats", line)
}
