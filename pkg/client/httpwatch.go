package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"tracker/pkg/geo"
)

// jsonFeed is a watch on a WebSocket of its own.
type jsonFeed struct {
	sock *socket
	dec  fixReader
}

// watchID is the number of the one watch on the connection.
const watchID = 1

func (c *overHTTP) watch(ctx context.Context, a Area, from mark) (feed, error) {
	sock, err := c.openSocket(ctx)
	if err != nil {
		return nil, err
	}
	if err := sock.write(ws.OpText, watchMessage("watch", a, from)); err != nil {
		sock.close()
		return nil, c.line.lineError(ctx, err)
	}
	j := &jsonFeed{sock: sock}
	j.dec.remember()
	return j, nil
}

func (c *overHTTP) openSocket(ctx context.Context) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	h := http.Header{}
	c.setHeaders(h)
	return c.line.openSocket(ctx, "/v1/stream", ws.OpText, h)
}

func (j *jsonFeed) move(a Area) { _ = j.sock.write(ws.OpText, watchMessage("area", a, mark{})) }

func (j *jsonFeed) close() { j.sock.close() }

// watchMessage is the request for an area.
func watchMessage(op string, a Area, from mark) []byte {
	m := struct {
		Op      string      `json:"op"`
		ID      int         `json:"id"`
		All     bool        `json:"all,omitempty"`
		Devices []string    `json:"devices,omitempty"`
		BBox    *[4]float64 `json:"bbox,omitempty"`
		Map     string      `json:"map,omitempty"`
		Epoch   string      `json:"epoch,omitempty"`
		Seq     uint64      `json:"seq,omitempty"`
	}{Op: op, ID: watchID, Devices: a.Devices, Map: a.Map, Epoch: from.epoch, Seq: from.seq}
	switch {
	case a.Box != nil:
		b := a.Box
		m.BBox = &[4]float64{float64(b.South) / geo.E7, float64(b.West) / geo.E7, float64(b.North) / geo.E7, float64(b.East) / geo.E7}
	case len(a.Devices) == 0 && a.Map == "":
		m.All = true
	}
	text, _ := json.Marshal(m) // numbers and strings always marshal
	return text
}

// closeToken is the close code of a token that ended.
const closeToken ws.StatusCode = 4401

func (j *jsonFeed) next(f *frame) error {
	if err := j.sock.alive(); err != nil {
		return err
	}
	msg, err := j.sock.read()
	if err != nil {
		var closed *closedError
		if errors.As(err, &closed) && closed.code == closeToken {
			err = &Error{Status: 401, Code: "unauthenticated", Message: closed.Error()}
		}
		return err
	}
	if !utf8.Valid(msg) {
		return errors.New("a message that is not UTF-8")
	}
	if err := f.decode(&j.dec, msg); err != nil {
		return fmt.Errorf("message of the server: %w", err)
	}
	return nil
}

// decode reads a message and reuses the memory of the one before.
func (f *frame) decode(d *fixReader, msg []byte) error {
	*f = frame{fixes: f.fixes[:0], left: f.left[:0]}
	d.reset(msg)
	d.open('{')
	for first := true; d.more(first, '}'); first = false {
		f.member(d, d.key())
	}
	if err := d.end(); err != nil {
		return err
	}
	if f.kind == "" {
		return errors.New("a message without a type")
	}
	return nil
}

func (f *frame) member(d *fixReader, key []byte) {
	switch string(key) {
	case "type":
		f.kind = d.words.intern(d.str())
	case "id":
		f.id = uint64(d.scaled(0, 1<<53))
	case "stream":
		f.stream = d.uint()
	case "epoch":
		f.epoch = d.words.intern(d.str())
	case "seq":
		f.seq = d.uint()
	case "n":
		f.n = d.uint()
	case "skipped":
		f.skipped = d.uint()
	case "fresh":
		f.fresh = d.bool()
	case "more":
		f.more = d.bool()
	case "resumed":
		f.resumed = d.bool()
	case "reason":
		f.reason = string(d.str())
	case "fixes":
		d.open('[')
		for first := true; d.scan.more(first, ']'); first = false {
			f.fixes = append(f.fixes, Fix{})
			d.fix(&f.fixes[len(f.fixes)-1])
		}
	case "left":
		d.open('[')
		for first := true; d.scan.more(first, ']'); first = false {
			f.left = append(f.left, d.device())
		}
	case "error":
		f.error(d)
	default:
		d.skip()
	}
}

func (f *frame) error(d *fixReader) {
	p := &f.problem.Error
	d.open('{')
	for first := true; d.more(first, '}'); first = false {
		switch string(d.key()) {
		case "code":
			p.Code = string(d.str())
		case "message":
			p.Message = string(d.str())
		case "hint":
			p.Hint = string(d.str())
		case "request":
			p.Request = string(d.str())
		default:
			d.skip()
		}
	}
}
