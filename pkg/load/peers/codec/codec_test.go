package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// kept is a sink that remembers.
type kept struct{ all []string }

func (k *kept) Message(p []byte) error {
	k.all = append(k.all, string(p))
	return nil
}

// count is one that does not.
type count int

func (c *count) Message(p []byte) error { *c += count(len(p)); return nil }

type taker interface {
	Take(b []byte, to Sink) (int, error)
	Owe() []byte
}

// subscribed are codecs in the state in which messages come, with an empty message and
// one of 16 bytes as their servers send them, and what goes wrong.
var subscribed = map[string]struct {
	make func() taker
	one  func(payload string) string
	bad  []string
}{
	"redis": {
		func() taker { return &RESP{Channel: "bench", Subscribed: true} },
		func(p string) string {
			return fmt.Sprintf("*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$%d\r\n%s\r\n", len(p), p)
		},
		[]string{
			"*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$1\r\nx\r\n", "*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$1\r\nxy\r\n",
			"*4\r\n", "*-1\r\n", "*03\r\n", "*3\n", "$-1\r\n", "$1048577\r\n", "$99999999999\r\n", ":x\r\n", ":\r\n", "-ERR no\r\n", "hello\r\n",
			"*3\r\n$9\r\nsubscribe\r\n$5\r\nbench\r\n:1\r\n", "*3\r\n$8\r\npmessage\r\n$5\r\nbench\r\n$1\r\nx\r\n", "*3\r\n*1\r\n", "+" + strings.Repeat("x", maxLine),
		},
	},
	"nats": {
		func() taker { return &NATS{Subject: "bench", Info: true} },
		func(p string) string { return fmt.Sprintf("MSG bench 1 %d\r\n%s\r\n", len(p), p) },
		[]string{
			"MSG other 1 1\r\nx\r\n", "MSG bench 2 1\r\nx\r\n", "MSG bench 1 reply 1\r\nx\r\n", "MSG bench 1 1\r\nxy\r\n", "MSG bench 1 1048577\r\n", "MSG\r\n",
			"MSG bench 1 -1\r\n", "msg bench 1 1\r\nx\r\n", "-ERR 'Slow Consumer'\r\n", "PING \r\n", "PONG\n", "\r\n", strings.Repeat("x", maxLine),
		},
	},
	"mqtt 0": {
		func() taker { return &MQTT{Topic: "bench", Connected: true, Subscribed: true} },
		func(p string) string { return string(AppendMQTTPublish(nil, "bench", 0, 0, []byte(p))) },
		[]string{
			"\x30\x08\x00\x05otherx", "\x30\x03\x00\x05b", "\x32\x0a\x00\x05bench\x00\x01x", "\x31\x07\x00\x05bench", "\x38\x07\x00\x05bench",
			"\x30\xff\xff\xff\xff\x01", "\x30\x87\x00", "\x30\xff\xff\x7f", "\x20\x02\x00\x00", "\x90\x03\x00\x01\x00", "\xd0\x01x", "\x41\x02\x00\x01", "\x00\x00", "\xf0\x00",
		},
	},
	"mqtt 1": {
		func() taker { return &MQTT{Topic: "bench", QoS: 1, Connected: true, Subscribed: true} },
		func(p string) string { return string(AppendMQTTPublish(nil, "bench", 1, 7, []byte(p))) },
		[]string{"\x32\x09\x00\x05bench\x00\x00", "\x32\x08\x00\x05bench\x00", "\x34\x09\x00\x05bench\x00\x01"},
	},
}

// What comes in pieces is the same as what comes at once, wherever it is cut.
func TestMessagesComeWholeHoweverTheyAreCut(t *testing.T) {
	for name, c := range subscribed {
		stream := []byte(c.one("0123456789abcdef") + c.one("") + c.one("\r\n$7\r\nMSG\x00\xff"+strings.Repeat("long", 100)))
		var whole kept
		if n, err := c.make().Take(stream, &whole); n != len(stream) || err != nil || len(whole.all) != 3 {
			t.Errorf("%s: %d of %d, %v, %q", name, n, len(stream), err, whole.all)
			continue
		}
		for cut := range stream {
			var got kept
			codec := c.make()
			n, err := codec.Take(stream[:cut], &got)
			if err == nil {
				var m int
				m, err = codec.Take(stream[n:], &got)
				n += m
			}
			if err != nil || n != len(stream) || !reflect.DeepEqual(got, whole) {
				t.Fatalf("%s, cut at %d: %d, %v, %q", name, cut, n, err, got.all)
			}
		}
	}
}

func TestWhatAServerWouldNotSendIsAnError(t *testing.T) {
	for name, c := range subscribed {
		for _, bad := range c.bad {
			var got kept
			good := c.one("x")
			n, err := c.make().Take([]byte(good+bad), &got)
			if err == nil || n != len(good) || len(got.all) != 1 {
				t.Errorf("%s: %.60q is taken: %d bytes, %v, %q", name, bad, n, err, got.all)
			}
		}
	}
}

// A message costs nothing but the scan, nor does making one.
func TestMessagesAllocateNothing(t *testing.T) {
	payload := []byte("0123456789abcdef")
	for name, c := range subscribed {
		stream, codec, sum := []byte(strings.Repeat(c.one(string(payload)), 100)), c.make(), new(count)
		if n := testing.AllocsPerRun(100, func() {
			if n, err := codec.Take(stream, sum); n != len(stream) || err != nil {
				t.Fatal(n, err)
			}
			codec.Owe()
		}); n > 0 {
			t.Errorf("%s: %v allocations a hundred messages", name, n)
		}
	}
	buf := make([]byte, 0, 1<<10)
	if n := testing.AllocsPerRun(100, func() {
		buf = AppendRESPPublish(buf[:0], "bench", payload)
		buf = AppendNATSPublish(buf, "bench", payload)
		buf = AppendMQTTPublish(buf, "bench", 0, 0, payload)
		buf = AppendMQTTPublish(buf, "bench", 1, 1, payload)
	}); n > 0 {
		t.Errorf("%v allocations to make messages", n)
	}
}

func TestRedisIsSubscribedTo(t *testing.T) {
	c := RESP{Channel: "bench"}
	stream := "+OK\r\n:1000\r\n:2\r\n$5\r\nhello\r\n*3\r\n$9\r\nsubscribe\r\n$5\r\nbench\r\n:1\r\n"
	if n, err := c.Take([]byte(stream), nil); n != len(stream) || err != nil || !c.Subscribed || c.Replies != 4 || c.Reached != 1002 {
		t.Errorf("%d of %d, %v, %+v", n, len(stream), err, c)
	}
	if got, want := string(AppendCommand(nil, "SUBSCRIBE", "bench")), "*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nbench\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := string(AppendRESPPublish(nil, "bench", []byte("x"))), string(AppendCommand(nil, "PUBLISH", "bench", "x")); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	early := RESP{Channel: "bench"}
	if _, err := early.Take([]byte("*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$1\r\nx\r\n"), new(kept)); err == nil {
		t.Error("a message before the subscription is taken")
	}
}

func TestNATSIsGreetedAndAnswered(t *testing.T) {
	c := NATS{Subject: "bench"}
	stream := "INFO {\"max_payload\":1048576,\"x\":\"" + strings.Repeat("y", maxLine) + "\"}\r\nPING\r\nPONG\r\n+OK\r\nINFO {}\r\nPING\r\n"
	if n, err := c.Take([]byte(stream), nil); n != len(stream) || err != nil || string(c.Owe()) != "PONG\r\nPONG\r\n" || c.Pongs != 1 || len(c.Owe()) > 0 {
		t.Errorf("%d of %d, %v, %+v", n, len(stream), err, c)
	}
	if _, err := new(NATS).Take([]byte("PING\r\n"), nil); err == nil {
		t.Error("a server that does not introduce itself is taken")
	}
	got := string(AppendNATSPublish(AppendNATSSubscribe(AppendNATSPing(nil), "bench"), "bench", []byte("xy")))
	if want := "PING\r\nSUB bench 1\r\nPUB bench 2\r\nxy\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(AppendNATSConnect(nil, `a"b`)); !strings.HasPrefix(got, `CONNECT {"verbose":false`) || !strings.HasSuffix(got, `"name":"a\"b"}`+"\r\n") {
		t.Error(got)
	}
}

func TestMQTTIsGreetedAndAnswered(t *testing.T) {
	c := MQTT{Topic: "bench", QoS: 1}
	stream := "\x20\x02\x00\x00\x90\x03\x00\x01\x01\x40\x02\x00\x07\xd0\x00\x3a\x0a\x00\x05bench\x12\x34x"
	var got kept
	if n, err := c.Take([]byte(stream), &got); n != len(stream) || err != nil {
		t.Errorf("%d of %d, %v", n, len(stream), err)
	}
	want := MQTT{Topic: "bench", QoS: 1, Connected: true, Subscribed: true, Acked: 1, Pongs: 1, Again: 1, owed: []byte("\x40\x02\x12\x34")}
	if !reflect.DeepEqual(c, want) || len(got.all) != 1 || got.all[0] != "x" {
		t.Errorf("%+v, %q", c, got.all)
	}
	for what, bad := range map[string]string{
		"refused": "\x20\x02\x00\x05", "another quality": "\x20\x02\x00\x00\x90\x03\x00\x01\x00", "not allowed": "\x20\x02\x00\x00\x90\x03\x00\x01\x80",
		"before the answer": "\x90\x03\x00\x01\x01",
	} {
		if _, err := (&MQTT{QoS: 1}).Take([]byte(bad), nil); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if got, want := AppendMQTTConnect(nil, "me"), []byte("\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me"); !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := AppendMQTTSubscribe(nil, "bench", 1), []byte("\x82\x0a\x00\x01\x00\x05bench\x01"); !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := AppendMQTTPing(AppendMQTTPublish(nil, "bench", 1, 0x1234, make([]byte, 200))[:12]), []byte("\x32\xd1\x01\x00\x05bench\x12\x34\xc0\x00"); !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// fuzz feeds bytes at once and in two parts: the messages, and whether it is well, must
// be the same, and nothing may be read that is not there.
func fuzz(f *testing.F, name string, fresh func() taker) {
	c := subscribed[name]
	f.Add([]byte(c.one("0123456789abcdef")+c.one("")), 3)
	for _, bad := range c.bad {
		f.Add([]byte(bad[:min(len(bad), 256)]), 1) // long ones only hold the fuzzer up
	}
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		for _, begin := range []func() taker{fresh, c.make} {
			var whole, parts kept
			n, err := begin().Take(b, &whole)
			if n < 0 || n > len(b) {
				t.Fatalf("%d of %d", n, len(b))
			}
			if cut < 0 || cut > len(b) {
				return
			}
			codec := begin()
			m, err2 := codec.Take(b[:cut:cut], &parts)
			if err2 == nil {
				var rest int
				rest, err2 = codec.Take(b[m:], &parts)
				m += rest
			}
			if m != n || (err == nil) != (err2 == nil) || !reflect.DeepEqual(whole, parts) {
				t.Fatalf("at once %d, %v, %q; cut at %d %d, %v, %q", n, err, whole.all, cut, m, err2, parts.all)
			}
		}
	})
}

func FuzzRESP(f *testing.F) { fuzz(f, "redis", func() taker { return &RESP{Channel: "bench"} }) }
func FuzzNATS(f *testing.F) { fuzz(f, "nats", func() taker { return &NATS{Subject: "bench"} }) }
func FuzzMQTT(f *testing.F) {
	fuzz(f, "mqtt 1", func() taker { return &MQTT{Topic: "bench", QoS: 1} })
}

func BenchmarkTake(b *testing.B) {
	for name, c := range subscribed {
		b.Run(strings.ReplaceAll(name, " ", ""), func(b *testing.B) {
			stream, codec, sum := []byte(strings.Repeat(c.one("0123456789abcdef"), 100)), c.make(), new(count)
			b.ReportAllocs()
			for range b.N / 100 {
				_, _ = codec.Take(stream, sum)
				codec.Owe()
			}
		})
	}
}
