package web

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/store"
	"tracker/pkg/track"
)

// positions answers with the latest fix of some devices, of those in a box, or of
// all, by ascending id.
func (w *Web) positions(rq *request) error {
	limit, err := rq.limit(engine.FixPage, engine.MaxFixPage)
	if err != nil {
		return err
	}
	after, err := engine.After(rq.query.Get("after"))
	if err != nil {
		return err
	}
	if refs := rq.query["device"]; len(refs) > 0 {
		return w.positionsOf(rq, refs)
	}
	box := geo.World
	if s := rq.query.Get("bbox"); s != "" {
		if box, err = geo.ParseBox(s); err != nil {
			return fmt.Errorf("bbox: %v: %w", err, track.ErrInvalid)
		}
	}
	fixes, more := w.engine.Positions(box, after, limit)
	next := ""
	if more {
		next = fixes[len(fixes)-1].Device.String()
	}
	w.replyFixes(rq, fixes, next)
	return nil
}

func (w *Web) positionsOf(rq *request, refs []string) error {
	if len(refs) > engine.MaxFixPage || rq.query.Has("bbox") || rq.query.Get("after") != "" {
		return fmt.Errorf("device: give up to %d, without bbox and after: %w", engine.MaxFixPage, track.ErrInvalid)
	}
	fixes, err := w.engine.LatestOf(refs)
	if err != nil {
		return err
	}
	w.replyFixes(rq, fixes, "")
	return nil
}

// fixSize is a guess at the JSON of one fix, to make room in one go.
const fixSize = 240

func (w *Web) replyFixes(rq *request, fixes []track.Fix, next string) {
	b := make([]byte, 0, 64+fixSize*len(fixes))
	b = append(b, `{"fixes":[`...)
	for i := range fixes {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFix(b, &fixes[i], w.engine.AppendName)
	}
	b = append(b, `],"next":`...)
	b = appendString(b, next)
	rq.reply(fasthttp.StatusOK, append(b, '}', '\n'))
}

// near lists devices around a place, nearest first.
func (w *Web) near(rq *request) error {
	limit, err := rq.limit(engine.NearLimit, engine.MaxNear)
	if err != nil {
		return err
	}
	at, err := geo.ParsePoint(rq.query.Get("at"))
	if err != nil {
		return fmt.Errorf("at: %v: %w", err, track.ErrInvalid)
	}
	within := float64(engine.NearDistance)
	if s := rq.query.Get("within"); s != "" {
		within, err = strconv.ParseFloat(s, 64)
		if err != nil || !(within > 0) || math.IsInf(within, 0) {
			return fmt.Errorf("within %q: want metres above 0: %w", s, track.ErrInvalid)
		}
	}
	hits := w.engine.Near(at, geo.Meters(within), limit)
	b := append(make([]byte, 0, 64+(fixSize+48)*len(hits)), `{"hits":[`...)
	for i := range hits {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"distance_m":`...)
		metres, bearing := engine.Away(at, &hits[i])
		b = strconv.AppendFloat(b, metres, 'f', -1, 64)
		b = append(b, `,"bearing_deg":`...)
		b = strconv.AppendFloat(b, bearing, 'f', -1, 64)
		b = append(b, `,"fix":`...)
		b = append(appendFix(b, &hits[i].Fix, w.engine.AppendName), '}')
	}
	rq.reply(fasthttp.StatusOK, append(b, "]}\n"...))
	return nil
}

// history answers with the past of one device, a page as JSON or all of it as lines.
func (w *Web) history(rq *request) error {
	q, err := w.historyQuery(rq)
	if err != nil {
		return err
	}
	if strings.Contains(string(rq.http.Request.Header.Peek("Accept")), "application/x-ndjson") {
		rq.http.SetStatusCode(fasthttp.StatusOK)
		rq.http.SetContentType("application/x-ndjson")
		rq.http.SetBodyStream(&lines{w: w, q: q, left: q.Limit, request: rq.id}, -1)
		return nil
	}
	if q.Limit == 0 {
		q.Limit = engine.FixPage
	}
	if q.Limit > engine.MaxFixPage {
		return fmt.Errorf("limit %d: want 1..%d, or ask for application/x-ndjson: %w", q.Limit, engine.MaxFixPage, track.ErrInvalid)
	}
	fixes, err := w.engine.HistoryPage(rq.ctx, q, nil)
	if err != nil {
		return err
	}
	next := ""
	if len(fixes) == q.Limit {
		next = store.Behind(&fixes[len(fixes)-1]).String()
	}
	w.replyFixes(rq, fixes, next)
	return nil
}

func (w *Web) historyQuery(rq *request) (q store.Query, err error) {
	d, err := w.engine.Find(rq.variable)
	if err != nil {
		return q, err
	}
	q.Device = d.ID
	if q.Limit, err = rq.limit(0, math.MaxInt32); err != nil {
		return q, err
	}
	if q.From, err = rq.time("from"); err != nil {
		return q, err
	}
	if q.To, err = rq.time("to"); err != nil {
		return q, err
	}
	if q.After, err = store.ParseCursor(rq.query.Get("after")); err != nil {
		return q, err
	}
	switch s := rq.query.Get("heartbeats"); s {
	case "1":
		q.Heartbeats = true
	case "", "0":
	default:
		return q, fmt.Errorf("heartbeats %q: want 0 or 1: %w", s, track.ErrInvalid)
	}
	return q, nil
}

func (rq *request) time(name string) (time.Time, error) {
	s := rq.query.Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s %q: want a time such as 2026-01-02T03:04:05Z: %w", name, s, track.ErrInvalid)
	}
	return t, nil
}

// lines is a history as one JSON object a line. It reads the store a page at a time,
// as fast as the client takes them: a client that stops reading holds a few hundred
// kilobytes and no cursor of the database.
type lines struct {
	w       *Web
	q       store.Query
	left    int // fixes still to give if q.Limit is set
	fixes   []track.Fix
	buf     []byte
	at      int
	done    bool
	request string
}

const linesPage = 2000

func (l *lines) Read(p []byte) (int, error) {
	for l.at == len(l.buf) {
		if l.done {
			return 0, io.EOF
		}
		l.fill()
	}
	n := copy(p, l.buf[l.at:])
	l.at += n
	return n, nil
}

// fill fetches the next page. The status was sent long ago, so an error is told in a
// line of its own, the last.
func (l *lines) fill() {
	l.buf, l.at = l.buf[:0], 0
	q := l.q
	q.Limit = linesPage
	if l.q.Limit > 0 {
		q.Limit = min(linesPage, l.left)
	}
	ctx, cancel := context.WithTimeout(l.w.life, l.w.cfg.WriteTimeout)
	defer cancel()
	var err error
	l.fixes, err = l.w.engine.HistoryPage(ctx, q, l.fixes[:0])
	if l.w.life.Err() != nil {
		err = track.ErrClosed
	}
	if err != nil {
		f, message, known := explain(err)
		if !known {
			l.w.log.Error("history failed", "request", l.request, "err", err)
		}
		l.buf = append(appendProblem(append(l.buf, `{"error":`...), f, message, l.request), '}', '\n')
		l.done = true
		return
	}
	for i := range l.fixes {
		l.buf = append(appendFix(l.buf, &l.fixes[i], l.w.engine.AppendName), '\n')
	}
	l.left -= len(l.fixes)
	l.done = len(l.fixes) < q.Limit || l.q.Limit > 0 && l.left == 0
	if len(l.fixes) > 0 {
		l.q.After = store.Behind(&l.fixes[len(l.fixes)-1])
	}
}
