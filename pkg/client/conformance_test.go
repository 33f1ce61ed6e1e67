package client

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// inquiry is something to ask of a Conn; who is a prefix for what it makes, so that
// the transports do not get into each other's way. A name that ends in an asterisk is
// answered with a sentence that names a field, which each transport calls its own way.
type inquiry struct {
	name string
	ask  func(c *Conn, who string) (any, error)
}

// answered is an answer without what must differ from one asking to the next.
type answered struct {
	Value any
	Error *Error
	Other string // an error that is no *Error
}

// TestTransportsGiveTheSameAnswers asks everything there is over each transport and
// compares whole values.
func TestTransportsGiveTheSameAnswers(t *testing.T) {
	h := newHouse(t, nil)
	h.populate()
	member, _ := h.harbour("full", "box 1")
	_, viewer, err := h.conn().CreateToken(t.Context(), "eyes", "viewer", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []struct{ name, token string }{{"admin", h.admin}, {"viewer", viewer}, {"member", member}, {"stranger", "trk_nobody"}, {"nobody", ""}} {
		conns := map[string]*Conn{}
		for _, scheme := range schemes {
			conns[scheme] = dialTo(t, Config{Server: scheme + h.tcp, Token: who.token})
		}
		for _, q := range questions(t) {
			want := outcome(q, conns["http://"], "by-http")
			for _, scheme := range []string{"", "ws://"} {
				got := outcome(q, conns[scheme], "by-"+cmp.Or(strings.TrimSuffix(scheme, "://"), "tcp"))
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s asks %s over %q:\n got %s\nwant %s", who.name, q.name, scheme, show(got), show(want))
				}
			}
		}
	}
}

func show(a answered) string { return fmt.Sprintf("%#v, %+v, %q", a.Value, a.Error, a.Other) }

func outcome(q inquiry, c *Conn, who string) answered {
	v, err := q.ask(c, who)
	var out answered
	switch {
	case errors.As(err, &out.Error):
		e := *out.Error
		e.Request = "" // a number
		e.Message = digits.ReplaceAllString(strings.ReplaceAll(e.Message, who, "WHO"), "…")
		if strings.HasSuffix(q.name, "*") {
			e.Message = ""
		}
		if e.Code == "unauthenticated" {
			e.Hint = "" // speaks of headers, or does not
		}
		out.Error = &e
	case err != nil:
		out.Other = strings.ReplaceAll(err.Error(), who, "WHO")
	default:
		out.Value = same(v, who)
	}
	return out
}

// digits are ids and tokens.
var digits = regexp.MustCompile(`\b(trk_[0-9A-Za-z_-]{20,}|[0-9a-f]{16}|[0-9a-f]{12})\b`)

// same replaces in a copy what is new each time: ids, secrets, moments of creation.
func same(v any, who string) any {
	out := reflect.New(reflect.TypeOf(v)).Elem()
	out.Set(reflect.ValueOf(v))
	blur(out, who, "")
	return out.Interface()
}

func blur(v reflect.Value, who, field string) {
	switch x := v.Addr().Interface().(type) {
	case *track.MapID:
		*x = 1
		return
	case *track.DeviceID:
		if field == "ID" {
			*x = 1
		}
		return
	case *time.Time:
		if (field == "Created" || field == "Expires" || field == "Revoked") && !x.IsZero() {
			*x = time.Unix(1, 0)
		}
		return
	case *string:
		*x = strings.ReplaceAll(*x, who, "WHO")
		if e, err := seal.ParseEnrolment(*x); err == nil {
			*x = fmt.Sprintf("%s %v %v", e.Host, e.Suite, e.Flags)
		}
		*x = digits.ReplaceAllString(*x, "…")
		return
	case *Fix:
		x.Name = strings.ReplaceAll(x.Name, who, "WHO")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			blur(v.Field(i), who, v.Type().Field(i).Name)
		}
	case reflect.Slice:
		if !v.IsNil() {
			v.Set(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v))
		}
		for i := range v.Len() {
			blur(v.Index(i), who, field)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(v.Elem())
			blur(p.Elem(), who, field)
			v.Set(p)
		}
	}
}

// all collects a walk; the error that ended it comes along.
func all[T any](walk iter.Seq2[T, error]) ([]T, error) {
	out := []T{}
	for v, err := range walk {
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func value[T any](v T, err error) (any, error) { return v, err }

func done(err error) (any, error) { return "done", err }

// populate makes fixes of every kind there is.
func (h *house) populate() {
	h.t.Helper()
	ctx := h.t.Context()
	var ids []track.DeviceID
	names := []string{"plain", "ünïcode \"q\" \\ <&>", "full", "beat", "silent", "worse", "unknown charge", "time", "box 1", "box 2"}
	for _, name := range names {
		e, err := h.conn().Enroll(ctx, NewDevice{Name: name})
		if err != nil {
			h.t.Fatal(err)
		}
		en, err := seal.ParseEnrolment(e.Enrolment)
		if err != nil {
			h.t.Fatal(err)
		}
		ids = append(ids, en.Device)
	}
	base := int64(1_760_000_000_123)
	fix := func(i int, f track.Fix) {
		f.Device, f.Wire = ids[i], ids[i]
		if f.Arrived == 0 {
			f.Arrived = f.Time + 77
		}
		h.engine.Apply(&track.Batch{Fixes: []track.Fix{f}})
	}
	at := geo.Deg(48.1371234, -11.5754321)
	fix(0, track.Fix{Time: base, Has: track.HasPos, At: at})
	fix(1, track.Fix{Time: base, Has: track.HasPos, At: geo.Deg(-90, 180)})
	for i := range 40 {
		fix(2, track.Fix{Time: base + int64(i)*1000, Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat, At: at,
			Alt: int16(-400 + 30*i), Speed: uint16(i * 1637), Course: uint16(i * 899), Acc: uint8(i * 6), Bat: uint8(i * 3), Event: track.Event(i % 9)})
	}
	fix(2, track.Fix{Time: base + 500, Has: track.HasPos, At: at})                                   // late
	fix(2, track.Fix{Time: base + 60_000, Has: track.HasPos, At: geo.Deg(20, 20)})                   // a jump
	fix(3, track.Fix{Time: base, Has: track.HasBat, Bat: 0x80 | 55})                                 // no place
	fix(5, track.Fix{Time: base, Has: track.HasPos | track.HasAcc | track.HasVel, At: at, Acc: 255}) // or worse
	fix(6, track.Fix{Time: base, Has: track.HasPos | track.HasBat, At: at, Bat: 0x80 | 127})         // charges, who knows how much
	fix(7, track.Fix{Time: base + 600_000, Arrived: base, Has: track.HasPos, At: at})                // suspect
	fix(8, track.Fix{Time: base, Has: track.HasPos, At: geo.Deg(1, 179.9)})
	fix(9, track.Fix{Time: base, Has: track.HasPos, At: geo.Deg(1, -179.9)})
}

func questions(t *testing.T) []inquiry {
	ctx := t.Context()
	whole := geo.World
	across := geo.Box{South: 0, West: 1799_000_000 - 1, North: 2 * geo.E7, East: -1799_000_000 + 1}
	empty := geo.Box{South: 70 * geo.E7, West: 0, North: 71 * geo.E7, East: geo.E7}
	wrong := geo.Box{South: geo.E7, West: 0, North: 0, East: geo.E7}
	positions := func(a Area) func(*Conn, string) (any, error) {
		return func(c *Conn, _ string) (any, error) { return value(all(c.Positions(ctx, a))) }
	}
	near := func(at geo.Point, within geo.Meters, limit int) func(*Conn, string) (any, error) {
		return func(c *Conn, _ string) (any, error) { return value(c.Near(ctx, at, within, limit)) }
	}
	history := func(q HistoryQuery) func(*Conn, string) (any, error) {
		return func(c *Conn, _ string) (any, error) { return value(all(c.History(ctx, q))) }
	}
	first := time.UnixMilli(1_760_000_000_123)
	return append([]inquiry{
		{"positions", positions(Area{})},
		{"positions in the world", positions(Area{Box: &whole})},
		{"positions across the antimeridian", positions(Area{Box: &across})},
		{"positions nowhere", positions(Area{Box: &empty})},
		{"positions upside down*", positions(Area{Box: &wrong})},
		{"positions of some", positions(Area{Devices: []string{"time", "plain", "silent", "beat"}})},
		{"positions of some in a box", positions(Area{Devices: []string{"plain"}, Box: &whole})},
		{"watch some in a box*", watchRefused(Area{Devices: []string{"plain"}, Box: &whole})},
		{"positions of nobody", positions(Area{Devices: []string{"plain", "no such device"}})},
		{"near", near(geo.Deg(48.137, -11.575), 1000, 3)},
		{"near with defaults", near(geo.Deg(48.137, -11.575), 20_000_000, 0)},
		{"near nobody", near(geo.Deg(60, 60), 10, 5)},
		{"near too many", near(geo.Deg(60, 60), 10, 100_000)},
		{"near at no distance*", near(geo.Deg(60, 60), -1, 5)},
		{"near beyond the globe*", near(geo.Point{Lat: 95 * geo.E7}, 10, 5)},
		{"history", history(HistoryQuery{Device: "full"})},
		{"history with heartbeats", history(HistoryQuery{Device: "beat", Heartbeats: true})},
		{"history without", history(HistoryQuery{Device: "beat"})},
		{"history of a time", history(HistoryQuery{Device: "full", From: first.Add(5 * time.Second), To: first.Add(15 * time.Second), Limit: 7})},
		{"history of a nanosecond", history(HistoryQuery{Device: "full", From: first.Add(1), To: first.Add(time.Second + 1)})},
		{"history that is upside down", history(HistoryQuery{Device: "full", From: first.Add(time.Second), To: first})},
		{"history of nobody", history(HistoryQuery{Device: "no such device"})},
		{"history of no device", history(HistoryQuery{})},
		{"devices", func(c *Conn, _ string) (any, error) { return value(all(c.Devices(ctx, "box"))) }},
		{"a device", func(c *Conn, _ string) (any, error) { return value(c.Device(ctx, "full")) }},
		{"a device that never reported", func(c *Conn, _ string) (any, error) { return value(c.Device(ctx, "silent")) }},
		{"a device that is none", func(c *Conn, _ string) (any, error) { return value(c.Device(ctx, "no such device")) }},
		{"a device without a name", func(c *Conn, _ string) (any, error) { return value(c.Device(ctx, "")) }},
		{"enrol", func(c *Conn, who string) (any, error) {
			return value(c.Enroll(ctx, NewDevice{Name: who + " one", Suite: 2, Flags: "p"}))
		}},
		{"enrol again", func(c *Conn, who string) (any, error) { return value(c.Enroll(ctx, NewDevice{Name: who + " one"})) }},
		{"enrol without a name", func(c *Conn, who string) (any, error) { return value(c.Enroll(ctx, NewDevice{})) }},
		{"enrol with a wrong suite", func(c *Conn, who string) (any, error) {
			return value(c.Enroll(ctx, NewDevice{Name: who + " bad", Suite: 9}))
		}},
		{"enrol with wrong flags", func(c *Conn, who string) (any, error) {
			return value(c.Enroll(ctx, NewDevice{Name: who + " bad", Flags: "xyz"}))
		}},
		{"enrol many", func(c *Conn, who string) (any, error) {
			return value(c.EnrollBatch(ctx, []NewDevice{{Name: who + " two"}, {Name: who + " three", Flags: "m"}}))
		}},
		{"enrol many, one of them known", func(c *Conn, who string) (any, error) {
			return value(c.EnrollBatch(ctx, []NewDevice{{Name: who + " four"}, {Name: who + " three"}}))
		}},
		{"enrol none", func(c *Conn, who string) (any, error) { return value(c.EnrollBatch(ctx, nil)) }},
		{"rename", func(c *Conn, who string) (any, error) { return value(c.Rename(ctx, who+" one", who+" uno")) }},
		{"rename to one that is there", func(c *Conn, who string) (any, error) { return value(c.Rename(ctx, who+" uno", who+" two")) }},
		{"rename nobody", func(c *Conn, who string) (any, error) { return value(c.Rename(ctx, who+" zero", who+" x")) }},
		{"rename to nothing", func(c *Conn, who string) (any, error) { return value(c.Rename(ctx, who+" uno", "")) }},
		{"rotate", func(c *Conn, who string) (any, error) { return value(c.Rotate(ctx, who+" uno")) }},
		{"rotate nobody", func(c *Conn, who string) (any, error) { return value(c.Rotate(ctx, who+" zero")) }},
		{"reset a floor that is none", func(c *Conn, who string) (any, error) { return value(c.ResetFloor(ctx, who+" two")) }},
		{"revoke", func(c *Conn, who string) (any, error) { return done(c.Revoke(ctx, who+" uno")) }},
		{"revoke again", func(c *Conn, who string) (any, error) { return done(c.Revoke(ctx, who+" uno")) }},
		{"revoke nobody", func(c *Conn, who string) (any, error) { return done(c.Revoke(ctx, who+" zero")) }},
		{"a device that was revoked", func(c *Conn, who string) (any, error) { return value(c.Device(ctx, who+" uno")) }},
		{"rotate one that was revoked", func(c *Conn, who string) (any, error) { return value(c.Rotate(ctx, who+" uno")) }},
		{"tokens", func(c *Conn, who string) (any, error) { return value(c.Tokens(ctx)) }},
		{"a token, from its making to its end", tokenLife},
		{"a token of no role", func(c *Conn, who string) (any, error) {
			_, _, err := c.CreateToken(ctx, who, "king", 0)
			return done(err)
		}},
		{"a token of no time*", func(c *Conn, who string) (any, error) {
			_, _, err := c.CreateToken(ctx, who, "viewer", -time.Second)
			return done(err)
		}},
		{"revoke no token", func(c *Conn, who string) (any, error) { return done(c.RevokeToken(ctx, "0123456789abcdef")) }},
		{"revoke nonsense", func(c *Conn, who string) (any, error) { return done(c.RevokeToken(ctx, "x")) }},
		{"status", func(c *Conn, who string) (any, error) {
			s, err := c.Status(ctx)
			if s.Uptime <= 0 && err == nil {
				return nil, fmt.Errorf("up for %v", s.Uptime)
			}
			s.Uptime = 0
			for name := range s.RPC {
				s.RPC[name] = 0 // asking counts
			}
			return s, err
		}},
		{"watch nobody", watchRefused(Area{Devices: []string{"no such device"}})},
		{"watch upside down*", watchRefused(Area{Box: &wrong})},
		{"watch", watchOnce(Area{})},
		{"watch a box", watchOnce(Area{Box: &across})},
		{"watch some", watchOnce(Area{Devices: []string{"full", "silent", "beat"}})},
	}, mapQuestions(ctx)...)
}

func tokenLife(c *Conn, who string) (any, error) {
	type made struct {
		Token  Token
		Secret string
	}
	t, s, err := c.CreateToken(c.life, who+" token", "viewer", 36*time.Hour)
	if err != nil {
		return nil, err
	}
	if left := time.Until(t.Expires); left < 35*time.Hour || left > 36*time.Hour {
		return nil, fmt.Errorf("good until %v", t.Expires)
	}
	return made{t, s}, c.RevokeToken(c.life, t.ID)
}

// watchRefused returns what a watch is refused with, at once or by its first event.
func watchRefused(a Area) func(*Conn, string) (any, error) {
	return func(c *Conn, _ string) (any, error) {
		w, err := c.Watch(c.life, a)
		if err == nil {
			defer w.Close()
			_, err = w.Next()
		}
		return done(err)
	}
}

// watchOnce returns the fixes of the first snapshot, by device.
func watchOnce(a Area) func(*Conn, string) (any, error) {
	return func(c *Conn, _ string) (any, error) {
		w, err := c.Watch(c.life, a)
		if err != nil {
			return nil, err
		}
		defer w.Close()
		fixes := []Fix{}
		for {
			e, err := w.Next()
			if err != nil {
				return nil, err
			}
			if e.Kind != Snapshot || e.First != (len(fixes) == 0) {
				return nil, fmt.Errorf("got %v, first %v", e.Kind, e.First)
			}
			fixes = append(fixes, e.Fixes...)
			if !e.More {
				slices.SortFunc(fixes, func(a, b Fix) int { return cmp.Compare(a.Device, b.Device) })
				return fixes, nil
			}
		}
	}
}

// TestWatchesSeeTheSame follows one story over each transport and compares every event.
func TestWatchesSeeTheSame(t *testing.T) {
	h := newHouse(t, nil)
	es := h.enroll(3)
	put := func(n, device int, at geo.Point) {
		f := of(testFix(n), es[device])
		f.At = at
		h.apply(f)
	}
	for i := range es {
		put(0, i, geo.Deg(float64(i)*20, 0))
	}
	box, _ := geo.ParseBox("-5,-5,5,5")
	var views []*story
	for _, scheme := range schemes {
		h.scheme = scheme
		s := &story{view: h.watch(Area{Box: &box})}
		s.until(wholeSnapshot)
		views = append(views, s)
	}
	each := func(do func(s *story)) {
		for _, s := range views {
			do(s)
		}
	}
	for n := range 5 {
		put(1+n, 0, geo.Deg(float64(n), 0))
	}
	put(0, 0, geo.Deg(3, 3)) // late
	put(10, 0, geo.Deg(50, 0))
	each(func(s *story) { s.until(func(e Event) bool { return len(e.Left) == 1 }) })
	each(func(s *story) { s.move(t, Area{Devices: []string{"d1", "nobody"}}) })
	each(func(s *story) { s.until(func(e Event) bool { return e.Kind == Refused }) })
	each(func(s *story) { s.move(t, Area{Devices: []string{"d1", "d2"}}) })
	each(func(s *story) { s.until(wholeSnapshot) })
	h.cut()
	put(11, 1, geo.Deg(7, 7))
	each(func(s *story) { s.until(func(e Event) bool { return len(e.Fixes) == 1 && e.Fixes[0].Name == "d1" }) })
	h.stop()
	each(func(s *story) { s.until(func(e Event) bool { return e.Kind == Disconnected }) })
	h.open()
	each(func(s *story) { s.move(t, Area{}) })
	each(func(s *story) { s.until(wholeSnapshot) })
	want := views[len(views)-1].told
	for i, s := range views {
		if !slices.Equal(s.told, want) {
			t.Errorf("over %q:\n got %q\nwant %q", schemes[i], s.told, want)
		}
	}
}

// story is what a watch told, in words that do not depend on how much of it came in
// one message, or how often a line had to be tried.
type story struct {
	*view
	told []string
}

func (s *story) until(want func(Event) bool) {
	s.view.until(func(e Event) bool {
		switch e.Kind {
		case Disconnected:
			if len(s.told) == 0 || s.told[len(s.told)-1] != "disconnected" {
				s.told = append(s.told, "disconnected")
			}
			return want(e)
		case Refused:
			s.told = append(s.told, fmt.Sprintf("refused %v", e.Err))
		case Resumed:
			s.told = append(s.told, "resumed")
		}
		if e.First {
			s.told = append(s.told, "first")
		}
		for _, f := range e.Fixes {
			s.told = append(s.told, e.Kind.String()+" "+string(f.AppendJSON(nil)))
		}
		for _, id := range e.Left {
			s.told = append(s.told, "left "+id.String())
		}
		return want(e)
	})
}

func (s *story) move(t *testing.T, a Area) {
	t.Helper()
	if err := s.w.Move(a); err != nil {
		t.Fatal(err)
	}
}
