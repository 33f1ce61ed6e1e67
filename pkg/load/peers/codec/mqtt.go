package codec

import (
	"encoding/binary"
	"fmt"
)

// MQTT is what a client knows of one connection to a broker of MQTT 3.1.1.
type MQTT struct {
	Topic      string // the only one whose messages may come
	QoS        byte   // that was asked for, 0 or 1
	Connected  bool
	Subscribed bool
	Acked      int64 // answers to messages of quality 1
	Pongs      int64 // answers to our PINGREQs
	Again      int64 // messages that the broker marked as sent before
	owed       []byte
}

// The packets, first four bits of the first byte.
const (
	mqttConnect   = 1
	mqttConnack   = 2
	mqttPublish   = 3
	mqttPuback    = 4
	mqttSubscribe = 8
	mqttSuback    = 9
	mqttPing      = 12
	mqttPong      = 13
)

const mostOwed = 1 << 20

// AppendMQTTConnect appends CONNECT with a clean session and no keep-alive.
func AppendMQTTConnect(dst []byte, client string) []byte {
	dst = appendMQTTHead(dst, mqttConnect<<4, 10+2+len(client))
	dst = append(dst, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0)
	return appendMQTTString(dst, client)
}

// AppendMQTTSubscribe appends SUBSCRIBE to one topic.
func AppendMQTTSubscribe(dst []byte, topic string, qos byte) []byte {
	dst = appendMQTTHead(dst, mqttSubscribe<<4|2, 2+2+len(topic)+1)
	dst = append(dst, 0, 1)
	return append(appendMQTTString(dst, topic), qos)
}

// AppendMQTTPublish appends PUBLISH. id, which must not be 0, is of quality 1 only.
func AppendMQTTPublish(dst []byte, topic string, qos byte, id uint16, payload []byte) []byte {
	n := 2 + len(topic) + len(payload)
	if qos > 0 {
		n += 2
	}
	dst = appendMQTTHead(dst, mqttPublish<<4|qos<<1, n)
	dst = appendMQTTString(dst, topic)
	if qos > 0 {
		dst = binary.BigEndian.AppendUint16(dst, id)
	}
	return append(dst, payload...)
}

// AppendMQTTPing appends PINGREQ.
func AppendMQTTPing(dst []byte) []byte { return append(dst, mqttPing<<4, 0) }

func appendMQTTHead(dst []byte, first byte, n int) []byte {
	dst = append(dst, first)
	for ; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

func appendMQTTString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// Take hands out the messages in b and tells how many bytes of it are done with.
func (c *MQTT) Take(b []byte, to Sink) (int, error) {
	done := 0
	for {
		body, n, err := mqttPacket(b[done:])
		if n == 0 || err != nil {
			return done, err
		}
		if err := c.packet(b[done], body, to); err != nil {
			return done, err
		}
		done += n
	}
}

// Owe is what the broker wants back, good until the next Take.
func (c *MQTT) Owe() []byte {
	b := c.owed
	c.owed = b[:0]
	return b
}

// Confirmed is how many messages of quality 1 were answered.
func (c *MQTT) Confirmed() int64 { return c.Acked }

// mqttPacket cuts one packet off b; n is 0 when it is not whole.
func mqttPacket(b []byte) (body []byte, n int, err error) {
	size := 0
	for i := 1; i < len(b); i++ {
		size |= int(b[i]&0x7f) << (7 * (i - 1))
		switch {
		case b[i] >= 0x80 && i == 4, size > MaxPayload+maxLine:
			return nil, 0, broken(errTooLong, "mqtt: a packet", b)
		case b[i] >= 0x80:
			continue
		case i > 1 && b[i] == 0:
			return nil, 0, broken(errProtocol, "mqtt: a length with too many bytes", b)
		case len(b) < i+1+size:
			return nil, 0, nil
		}
		return b[i+1 : i+1+size], i + 1 + size, nil
	}
	return nil, 0, nil
}

func (c *MQTT) packet(first byte, body []byte, to Sink) error {
	kind, flags := first>>4, first&15
	if kind == mqttPublish && c.Subscribed {
		return c.message(flags, body, to)
	}
	if flags != 0 {
		return broken(errProtocol, "mqtt: flags", body)
	}
	switch {
	case kind == mqttConnack && !c.Connected && len(body) == 2:
		if body[1] != 0 {
			return fmt.Errorf("mqtt: the broker refuses with code %d", body[1])
		}
		c.Connected = true
		return nil
	case !c.Connected:
	case kind == mqttSuback && !c.Subscribed && len(body) == 3 && body[0] == 0 && body[1] == 1:
		if body[2] != c.QoS {
			return fmt.Errorf("mqtt: the broker grants quality %d, asked for was %d", body[2], c.QoS)
		}
		c.Subscribed = true
		return nil
	case kind == mqttPuback && len(body) == 2:
		c.Acked++
		return nil
	case kind == mqttPong && len(body) == 0:
		c.Pongs++
		return nil
	}
	return broken(errProtocol, "mqtt: a packet that nobody asked for", append([]byte{first}, body[:min(len(body), 8)]...))
}

// message takes PUBLISH and owes an answer for quality 1.
func (c *MQTT) message(flags byte, body []byte, to Sink) error {
	const retained, again = 1, 8
	qos := flags >> 1 & 3
	n := len(c.Topic)
	switch {
	case qos > c.QoS, flags&retained != 0, flags&again != 0 && qos == 0:
		return broken(errProtocol, "mqtt: flags of a message", body)
	case len(body) < 2+n || int(binary.BigEndian.Uint16(body)) != n || string(body[2:2+n]) != c.Topic:
		return broken(errProtocol, "mqtt: of another topic", body)
	}
	body = body[2+n:]
	if qos > 0 {
		if len(body) < 2 || body[0]|body[1] == 0 {
			return broken(errProtocol, "mqtt: a message without an id", body)
		}
		if len(c.owed) > mostOwed {
			return broken(errTooLong, "mqtt: answers that were never written", nil)
		}
		c.owed = append(c.owed, mqttPuback<<4, 2, body[0], body[1])
		body = body[2:]
	}
	if flags&again != 0 {
		c.Again++
	}
	if len(body) > MaxPayload {
		return broken(errTooLong, "mqtt: a payload", body)
	}
	return to.Message(body)
}
