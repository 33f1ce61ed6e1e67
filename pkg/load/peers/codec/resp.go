package codec

import (
	"bytes"
	"fmt"
	"strconv"
)

// RESP is what a client knows of one connection to Redis, in version 2 of its protocol.
type RESP struct {
	Channel    string // the only one whose messages may come
	Subscribed bool
	Replies    int64 // answers to commands, in all
	Reached    int64 // subscribers, in all, that answers to PUBLISH told of

	parts [3][]byte
}

const (
	maxParts  = 3  // of an array: no message that we ask for has more
	maxHeader = 32 // of a line that carries a length or a number
)

// AppendCommand appends a command as an array of strings.
func AppendCommand(dst []byte, args ...string) []byte {
	dst = appendCount(dst, '*', len(args))
	for _, a := range args {
		dst = appendCount(dst, '$', len(a))
		dst = append(append(dst, a...), "\r\n"...)
	}
	return dst
}

// AppendRESPPublish appends PUBLISH.
func AppendRESPPublish(dst []byte, channel string, payload []byte) []byte {
	dst = append(dst, "*3\r\n$7\r\nPUBLISH\r\n"...)
	dst = appendCount(dst, '$', len(channel))
	dst = append(append(dst, channel...), "\r\n"...)
	dst = appendCount(dst, '$', len(payload))
	return append(append(dst, payload...), "\r\n"...)
}

func appendCount(dst []byte, kind byte, n int) []byte {
	dst = strconv.AppendInt(append(dst, kind), int64(n), 10)
	return append(dst, "\r\n"...)
}

// Take hands out the messages in b and tells how many bytes of it are done with.
func (c *RESP) Take(b []byte, to Sink) (int, error) {
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

// Owe is what the server wants back: nothing.
func (c *RESP) Owe() []byte { return nil }

// Confirmed is how many commands were answered.
func (c *RESP) Confirmed() int64 { return c.Replies }

// one takes one value, or 0 bytes when it is not whole.
func (c *RESP) one(b []byte, to Sink) (int, error) {
	switch b[0] {
	case '*':
		return c.array(b, to)
	case '$':
		_, n, err := bulk(b)
		if n > 0 {
			c.Replies++
		}
		return n, err
	case '-':
		line, n, err := cutLine(b, maxLine)
		if n == 0 || err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("redis: %s", line[1:])
	case '+':
		_, n, err := cutLine(b, maxLine)
		if n > 0 {
			c.Replies++
		}
		return n, err
	case ':':
		line, n, err := cutLine(b, maxHeader)
		if n == 0 || err != nil {
			return 0, err
		}
		v, ok := number(line[1:], 1<<31)
		if !ok {
			return 0, broken(errProtocol, "redis: an integer", b)
		}
		c.Replies++
		c.Reached += int64(v)
		return n, nil
	}
	return 0, broken(errProtocol, "redis", b)
}

// array takes what a subscriber is sent: three parts, the first of which says what it is.
func (c *RESP) array(b []byte, to Sink) (int, error) {
	line, at, err := cutLine(b, maxHeader)
	if at == 0 || err != nil {
		return 0, err
	}
	if n, ok := number(line[1:], maxParts); !ok || n != maxParts {
		return 0, broken(errProtocol, "redis: an array that nobody asked for", b)
	}
	for i := range c.parts {
		if at == len(b) {
			return 0, nil
		}
		var n int
		if b[at] == ':' {
			c.parts[i], n, err = cutLine(b[at:], maxHeader)
		} else {
			c.parts[i], n, err = bulk(b[at:])
		}
		if n == 0 || err != nil {
			return 0, err
		}
		at += n
	}
	return at, c.push(to)
}

func (c *RESP) push(to Sink) error {
	kind, channel, payload := c.parts[0], c.parts[1], c.parts[2]
	switch {
	case string(channel) != c.Channel:
		return broken(errProtocol, "redis: of another channel", channel)
	case string(kind) == "message" && c.Subscribed:
		return to.Message(payload)
	case string(kind) == "subscribe" && !c.Subscribed && bytes.Equal(payload, []byte(":1")):
		c.Subscribed = true
		return nil
	}
	return broken(errProtocol, "redis: a push that nobody asked for", kind)
}

// bulk cuts a string with its length before it.
func bulk(b []byte) (s []byte, n int, err error) {
	if b[0] != '$' {
		return nil, 0, broken(errProtocol, "redis: no string", b)
	}
	line, at, err := cutLine(b, maxHeader)
	if at == 0 || err != nil {
		return nil, 0, err
	}
	size, ok := number(line[1:], MaxPayload)
	if !ok {
		return nil, 0, broken(errTooLong, "redis: a string", b)
	}
	end := at + size
	if len(b) < end+2 {
		return nil, 0, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return nil, 0, broken(errProtocol, "redis: no end of a string", b)
	}
	return b[at:end], end + 2, nil
}
