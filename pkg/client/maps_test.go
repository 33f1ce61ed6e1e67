package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// mapQuestions are a part of questions. What they make is named by who asks.
func mapQuestions(ctx context.Context) []inquiry {
	on := func(name string, ask func(c *Conn, m string) (any, error)) inquiry {
		return inquiry{name, func(c *Conn, who string) (any, error) { return ask(c, who+" map") }}
	}
	return []inquiry{
		on("create a map", func(c *Conn, m string) (any, error) { return value(c.CreateMap(ctx, m)) }),
		on("create it again", func(c *Conn, m string) (any, error) { return value(c.CreateMap(ctx, m)) }),
		on("create a map without a name", func(c *Conn, _ string) (any, error) { return value(c.CreateMap(ctx, "")) }),
		on("create a map that is called like an id", func(c *Conn, _ string) (any, error) {
			return value(c.CreateMap(ctx, "0123456789abcdef"))
		}),
		on("join a map", func(c *Conn, m string) (any, error) {
			return value(c.JoinMap(ctx, m, "plain", "full", "silent", "box 1"))
		}),
		on("join it again", func(c *Conn, m string) (any, error) { return value(c.JoinMap(ctx, m, "full", "box 2", "full")) }),
		on("join nobody", func(c *Conn, m string) (any, error) { return value(c.JoinMap(ctx, m)) }),
		on("join a device that is none", func(c *Conn, m string) (any, error) { return value(c.JoinMap(ctx, m, "plain", "nobody")) }),
		on("join a map that is none", func(c *Conn, m string) (any, error) { return value(c.JoinMap(ctx, m+"s", "plain")) }),
		on("join no map", func(c *Conn, _ string) (any, error) { return value(c.JoinMap(ctx, "", "plain")) }),
		on("part from a map", func(c *Conn, m string) (any, error) { return value(c.PartMap(ctx, m, "box 1", "beat")) }),
		on("part a device that is none", func(c *Conn, m string) (any, error) { return value(c.PartMap(ctx, m, "nobody")) }),
		on("maps", func(c *Conn, m string) (any, error) { return value(all(c.Maps(ctx, m))) }),
		on("maps that are none", func(c *Conn, m string) (any, error) { return value(all(c.Maps(ctx, m+"s"))) }),
		on("a map", func(c *Conn, m string) (any, error) { return value(c.ShowMap(ctx, m)) }),
		on("a map that is none", func(c *Conn, m string) (any, error) { return value(c.ShowMap(ctx, m+"s")) }),
		on("a map without a name", func(c *Conn, _ string) (any, error) { return value(c.ShowMap(ctx, "")) }),
		on("grant a map, and end it", grantLife),
		on("grant to nobody", func(c *Conn, m string) (any, error) { return done(c.GrantMap(ctx, m, "0123456789abcdef")) }),
		on("grant to nonsense", func(c *Conn, m string) (any, error) { return done(c.GrantMap(ctx, m, "x")) }),
		on("grant to no token", func(c *Conn, m string) (any, error) { return done(c.GrantMap(ctx, m, "")) }),
		on("watch a map", func(c *Conn, m string) (any, error) { return watchOnce(Area{Map: m})(c, "") }),
		on("watch a map in a box*", func(c *Conn, m string) (any, error) {
			return watchRefused(Area{Map: m, Box: &geo.World})(c, "")
		}),
		on("watch a map that is none", func(c *Conn, m string) (any, error) { return watchRefused(Area{Map: m + "s"})(c, "") }),
		on("positions of a map", func(c *Conn, m string) (any, error) { return value(all(c.Positions(ctx, Area{Map: "harbour"}))) }),
		on("delete a map", func(c *Conn, m string) (any, error) { return done(c.DeleteMap(ctx, m)) }),
		on("delete it again", func(c *Conn, m string) (any, error) { return done(c.DeleteMap(ctx, m)) }),
		on("a map of everybody", func(c *Conn, _ string) (any, error) { return value(c.ShowMap(ctx, "harbour")) }),
		on("watch a map of everybody", func(c *Conn, _ string) (any, error) { return watchOnce(Area{Map: "harbour"})(c, "") }),
	}
}

// grantLife grants a map to a token, looks, and takes it back, twice.
func grantLife(c *Conn, m string) (any, error) {
	t, _, err := c.CreateToken(c.life, m+" token", "member", 0)
	if err != nil {
		return nil, err
	}
	if err := c.GrantMap(c.life, m, t.ID); err != nil {
		return nil, err
	}
	d, err := c.ShowMap(c.life, m)
	if err != nil {
		return nil, err
	}
	v, _, err := c.CreateToken(c.life, m+" screen", "viewer", 0)
	if err != nil {
		return nil, err
	}
	needless := c.GrantMap(c.life, m, v.ID)
	err = c.RevokeMapViewer(c.life, m, t.ID)
	twice := c.RevokeMapViewer(c.life, m, t.ID)
	seen := struct {
		Granted         MapDetail
		Needless, Twice string
	}{d, fmt.Sprint(needless), fmt.Sprint(twice)}
	return seen, errors.Join(err, c.RevokeToken(c.life, t.ID), c.RevokeToken(c.life, v.ID))
}

// harbour is a map of some devices, which a member's token may see.
func (h *house) harbour(devices ...string) (member string, token string) {
	h.t.Helper()
	ctx, c := h.t.Context(), h.conn()
	t, secret, err := c.CreateToken(ctx, "skipper", "member", 0)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err = c.CreateMap(ctx, "harbour"); err == nil {
		_, err = c.JoinMap(ctx, "harbour", devices...)
	}
	if err = errors.Join(err, c.GrantMap(ctx, "harbour", t.ID)); err != nil {
		h.t.Fatal(err)
	}
	return secret, t.ID
}

// TestWatchesOfMapsSeeTheSame follows who comes and goes, as everybody who may.
func TestWatchesOfMapsSeeTheSame(t *testing.T) {
	h := newHouse(t, nil)
	es := h.enroll(4)
	skipper, token := h.harbour("d0", "d3")
	ctx, c := t.Context(), h.conn()
	h.apply(of(testFix(0), es[0]), of(testFix(0), es[1]), of(testFix(0), es[2]))
	var views []*story
	var kinds []string
	for _, scheme := range schemes {
		as := map[string]Config{"admin": {Token: h.admin}, "member": {Token: skipper}, "device": {Device: es[3]}}
		for who, cfg := range as {
			if who == "device" && scheme == "http://" {
				continue
			}
			cfg.Server = scheme + h.tcp
			s := &story{view: viewOf(t, dialTo(t, cfg), Area{Map: "harbour"})}
			s.until(wholeSnapshot)
			views, kinds = append(views, s), append(kinds, who)
		}
	}
	each := func(want func(e Event) bool) {
		t.Helper()
		for _, s := range views {
			s.until(want)
		}
	}
	saw := func(name string) func(e Event) bool {
		return func(e Event) bool {
			return slices.ContainsFunc(e.Fixes, func(f Fix) bool { return f.Name == name })
		}
	}
	h.apply(of(testFix(1), es[0]), of(testFix(1), es[1]))
	each(saw("d0"))
	if _, err := c.JoinMap(ctx, "harbour", "d0", "d1"); err != nil {
		t.Fatal(err)
	}
	each(saw("d1"))
	if _, err := c.PartMap(ctx, "harbour", "d0"); err != nil {
		t.Fatal(err)
	}
	each(func(e Event) bool { return slices.Contains(e.Left, es[0].Device) })
	h.apply(of(testFix(2), es[0]), of(testFix(2), es[2]), of(testFix(2), es[1]))
	each(saw("d1"))
	want := views[0].told
	for i, s := range views {
		if !slices.Equal(s.told, want) {
			t.Errorf("%s:\n got %q\nwant %q", kinds[i], s.told, want)
		}
	}

	// Who may not any more is told so, and the others go on.
	ends := func(who string, why error) {
		t.Helper()
		for i, s := range views {
			if s == nil || who != "" && kinds[i] != who {
				continue
			}
			if err := s.end(); !errors.Is(err, why) {
				t.Errorf("%s: ended with %v, want %v", kinds[i], err, why)
			}
			views[i] = nil
		}
		views = slices.DeleteFunc(views, func(s *story) bool { return s == nil })
		kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == who })
	}
	if err := c.RevokeMapViewer(ctx, "harbour", token); err != nil {
		t.Fatal(err)
	}
	ends("member", track.ErrDenied)
	if _, err := c.PartMap(ctx, "harbour", "d3"); err != nil {
		t.Fatal(err)
	}
	ends("device", track.ErrDenied)
	h.apply(of(testFix(3), es[1]))
	each(saw("d1"))
	if err := c.DeleteMap(ctx, "harbour"); err != nil {
		t.Fatal(err)
	}
	ends("", track.ErrNotFound)
}

// end reads on until the watch is over.
func (s *story) end() error {
	for {
		if _, err := s.w.Next(); err != nil {
			return err
		}
	}
}

func viewOf(t *testing.T, c *Conn, a Area) *view {
	t.Helper()
	w, err := c.Watch(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return &view{t: t, w: w, at: map[track.DeviceID]Fix{}}
}
