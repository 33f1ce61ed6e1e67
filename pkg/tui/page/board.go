package page

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/words"
)

// Board is how a server is and has been: its last answer, what that says of the time
// since the answer before, and a minute of such rates. Any goroutine may use it.
type Board struct {
	server string
	drops  []string // counters of Ingest that count what was not taken

	mu      sync.Mutex
	last    client.Status
	at      time.Time          // of last; zero before the first answer
	every   time.Duration      // between questions
	rates   map[string]float64 // nil if nothing can be said
	past    map[string]*series
	failed  time.Time // when the answers stopped; zero while they come
	why     string    // they stopped
	version uint64    // another one after every change
}

// patience is how long an answer may take.
const patience = 5 * time.Second

// NewBoard makes an empty board for a server. Drops are the names of those counters of
// Status.Ingest that count what the server did not take.
func NewBoard(server string, drops []string) *Board {
	return &Board{server: canvas.Clean(server), drops: drops, past: map[string]*series{}}
}

// Poll asks how the server is, every so often, until ctx is done, which is no error, or
// until the server refuses to tell, which is one. That it does not answer is written on
// the board. There is no push in the interface: each answer is a question. It begins with
// a pause if there is an answer on the board already, since a rate needs time. each is
// called after every answer, also if none came, and its error is an end as well; it may
// be nil.
func (b *Board) Poll(ctx context.Context, ask func(context.Context) (client.Status, error), every time.Duration, each func() error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	wait := b.begin(every)
	for {
		if wait {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
		if err := b.poll(ctx, ask); err != nil || ctx.Err() != nil {
			return err
		}
		if each != nil {
			if err := each(); err != nil {
				return err
			}
		}
		wait = true
	}
}

// begin tells whether there is an answer already.
func (b *Board) begin(every time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.every = every
	return !b.at.IsZero()
}

func (b *Board) poll(ctx context.Context, ask func(context.Context) (client.Status, error)) error {
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := ask(asking)
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		b.Take(&s, time.Now())
	case asking.Err() != nil, errors.Is(err, client.ErrUnreachable), errors.Is(err, track.ErrUnavailable):
		b.Fail(err, time.Now())
	default:
		return err
	}
	return nil
}

// Take puts an answer on the board. It keeps the maps in it.
func (b *Board) Take(s *client.Status, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rates = nil
	if !b.at.IsZero() {
		b.rates = Rates(&b.last, s, now.Sub(b.at))
	}
	b.last, b.at = *s, now
	b.failed, b.why = time.Time{}, ""
	b.version++
	for _, name := range b.series() {
		v, ok := b.rate(name)
		if !ok {
			v = math.NaN()
		}
		b.add(name, v)
	}
	b.add("store.pending", float64(s.Store.Pending))
	b.add("hub.behind", float64(s.Hub["behind"]))
}

// Fail writes on the board that an answer did not come.
func (b *Board) Fail(err error, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed.IsZero() {
		b.failed = now
	}
	b.why = canvas.Clean(err.Error())
	if errors.Is(err, context.DeadlineExceeded) {
		b.why = "none within " + words.Spoken(patience)
	}
	b.rates = nil
	b.version++
	for _, s := range b.past {
		s.add(math.NaN())
	}
}

// Version changes with the board.
func (b *Board) Version() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.version
}

// series are the rates of which a minute is kept.
func (b *Board) series() []string {
	names := []string{"ingest.ok", dropped, "store.stored", "hub.fixes_out", "hub.skipped", calls}
	for _, d := range b.drops {
		names = append(names, "ingest."+d)
	}
	return names
}

// Rates that are sums of others.
const (
	dropped = "dropped"
	calls   = "calls"
)

// rate is the growth of something a second, not ok if it is not known.
func (b *Board) rate(name string) (perSecond float64, ok bool) {
	var parts []string
	switch name {
	case dropped:
		for _, d := range b.drops {
			parts = append(parts, "ingest."+d)
		}
	case calls:
		parts = []string{"rpc.inline", "rpc.async"}
	default:
		parts = []string{name}
	}
	for _, p := range parts {
		if r, known := b.rates[p]; known {
			perSecond, ok = perSecond+r, true
		}
	}
	return perSecond, ok
}

func (b *Board) add(name string, v float64) {
	s := b.past[name]
	if s == nil {
		s = &series{}
		b.past[name] = s
	}
	s.add(v)
}

// drop is one reason for which datagrams are not taken.
type drop struct {
	name  string
	count uint64
	rate  float64
}

// reasons are those that ever counted, the busiest first.
func (b *Board) reasons() []drop {
	var out []drop
	for _, name := range b.drops {
		if n := b.last.Ingest[name]; n > 0 {
			r, _ := b.rate("ingest." + name)
			out = append(out, drop{name, n, r})
		}
	}
	slices.SortStableFunc(out, func(x, y drop) int {
		return cmp.Or(cmp.Compare(y.rate, x.rate), cmp.Compare(y.count, x.count))
	})
	return out
}

// samples is how many rates of each are kept: with one a second, a minute.
const samples = 60

// series is a ring of rates. What is not known is not a number.
type series struct {
	v [samples]float64
	n int // ever added
}

func (s *series) add(v float64) {
	s.v[s.n%samples] = v
	s.n++
}

// newest calls with the newest n rates, oldest first, and where each stands of n.
func (s *series) newest(n int, at func(i int, v float64)) {
	have := min(s.n, n, samples)
	for i := range have {
		at(n-have+i, s.v[(s.n-have+i)%samples])
	}
}

// most is the greatest of the newest n rates, 0 if there is none.
func (s *series) most(n int) float64 {
	most := 0.0
	s.newest(n, func(_ int, v float64) {
		if v > most { // never so if it is not a number
			most = v
		}
	})
	return most
}

// Rates are the counters' growth a second, by section and name as the status itself
// calls them. A server that started anew in between has none.
func Rates(before, now *client.Status, took time.Duration) map[string]float64 {
	if now.Uptime < before.Uptime || took <= 0 {
		return nil
	}
	out := map[string]float64{}
	add := func(name string, was, is uint64) {
		if is >= was {
			out[name] = float64(is-was) / took.Seconds()
		}
	}
	for name, n := range now.Ingest {
		add("ingest."+name, before.Ingest[name], n)
	}
	add("store.stored", before.Store.Stored, now.Store.Stored)
	add("store.lost", before.Store.Lost, now.Store.Lost)
	for _, name := range []string{"fixes_out", "skipped", "resyncs"} {
		add("hub."+name, before.Hub[name], now.Hub[name])
	}
	for _, name := range []string{"inline", "async", "failed"} {
		add("rpc."+name, before.RPC[name], now.RPC[name])
	}
	return out
}

// Report is the board for programs: the server's own answer, with when it came and the
// rates beside it, or why there is none.
type Report struct {
	Time time.Time `json:"time"`
	*client.Status
	Rates map[string]float64 `json:"rates,omitempty"`
	Error string             `json:"error,omitempty"`
}

// Report tells the board as it is at a moment.
func (b *Board) Report(now time.Time) Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.failed.IsZero() || b.at.IsZero() {
		return Report{Time: now.UTC(), Error: b.why}
	}
	s := b.last
	return Report{Time: b.at.UTC(), Status: &s, Rates: b.rates}
}

// health is a server in a word.
type health uint8

const (
	waiting health = iota // for the first answer
	fine
	alarmed  // a person should look at what is on the board
	degraded // it works, and does not keep what it takes
	broken   // a fix no longer makes its way through it
	silent   // it does not answer
)

func (h health) String() string {
	return [...]string{"asking", "ok", "alarm", "degraded", "failed", "no answer"}[h]
}

// health judges by the worst there is.
func (b *Board) health(now time.Time) health {
	s := &b.last
	switch {
	case !b.failed.IsZero():
		return silent
	case b.at.IsZero():
		return waiting
	case now.Sub(b.at) > b.every+patience:
		return silent
	case !s.Probe.OK:
		return broken
	case s.Store.State != "ok":
		return degraded
	case len(s.Alarms) > 0:
		return alarmed
	}
	return fine
}

// reason is why the health is not better, empty if there is nothing to add.
func (b *Board) reason(h health) string {
	switch h {
	case silent:
		return b.why
	case broken:
		return "a fix no longer makes its way through the server"
	case degraded:
		return canvas.Clean(b.last.Store.Reason)
	case alarmed:
		return words.Plural(len(b.last.Alarms), "alarm")
	}
	return ""
}
