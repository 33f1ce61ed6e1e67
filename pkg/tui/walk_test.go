package tui

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/chart"
	"tracker/pkg/tui/conf"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/past"
	"tracker/pkg/tui/tty"
	"tracker/pkg/tui/world"
)

// walks say of every action how somebody comes to want it, and what it has done then: each
// prepares the screen and returns what is to hold after the key.
var walks = map[string]func(r *rig) (done func() bool){
	"pan-left":       pans(-1.0/8, 0),
	"pan-right":      pans(1.0/8, 0),
	"pan-up":         pans(0, -1.0/8),
	"pan-down":       pans(0, 1.0/8),
	"pan-left-half":  pans(-0.5, 0),
	"pan-right-half": pans(0.5, 0),
	"pan-up-half":    pans(0, -0.5),
	"pan-down-half":  pans(0, 0.5),
	"zoom-in":        zooms(0.5),
	"zoom-out":       zooms(-0.5),
	"fit": func(r *rig) func() bool {
		r.look(0, 0, 8)
		return func() bool { return r.fitting && r.frame.Visible == 4 }
	},
	"zoom-selected": func(r *rig) func() bool {
		r.choose(r.store.Find(2))
		return func() bool { return r.view.Zoom == nearZoom && r.centredOn(52, 13) }
	},
	"follow": func(r *rig) func() bool {
		r.choose(r.store.Find(2))
		return func() bool {
			r.shows("bert · following")
			return r.follow && !r.fitting && r.centredOn(52, 13)
		}
	},
	"trails": func(r *rig) func() bool {
		return func() bool { r.shows("trails: all"); return r.trails == chart.TrailsAll }
	},
	"focus":      focuses(onMap, onList),
	"focus-back": focuses(onMap, onEvents),
	"filter":     asks(forFilter, ""),
	"command":    asks(forCommand, ""),
	"goto":       asks(forPlace, ""),
	"export":     asks(forFile, ".svg"),
	"colour": func(r *rig) func() bool {
		return func() bool { r.shows("colours tell of age", "▲ moving"); return r.colour == look.ByAge }
	},
	"events": func(r *rig) func() bool {
		return func() bool { r.hides("Events"); return r.lay.eventBox.empty() && r.lay.m.h > 30 }
	},
	"details": func(r *rig) func() bool {
		list, about := r.lay.listBox.h, r.lay.detailBox.h
		return func() bool {
			r.hides("No device selected")
			return r.lay.detailBox.empty() && about > 0 && r.lay.listBox.h == list+about
		}
	},
	"events-all":     tabbed(linkEvents, allEvents),
	"events-alerts":  tabbed(allEvents, alertEvents),
	"events-devices": tabbed(allEvents, deviceEvents),
	"events-link":    tabbed(allEvents, linkEvents),
	"ack": func(r *rig) func() bool {
		r.sos(3, 4)
		return func() bool { r.shows("seen: sos dora"); return r.store.Events().Alerting() == 1 }
	},
	"ack-all": func(r *rig) func() bool {
		r.sos(3, 4)
		return func() bool { r.shows("everything so far is seen"); return r.store.Events().Alerting() == 0 }
	},
	"mute": func(r *rig) func() bool {
		r.choose(r.store.Find(3))
		return func() bool { r.shows("no more events of carl"); return r.store.Events().Muted(3) }
	},
	"copy": func(r *rig) func() bool {
		r.choose(r.store.Find(2))
		return func() bool { return r.Wants().Copy == "52.00000,13.00000" }
	},
	"open": func(r *rig) func() bool {
		r.conf.Open = "https://maps.example/#{z}/{lat}/{lon}?{id}"
		r.choose(r.store.Find(2))
		return func() bool {
			url := r.Wants().Copy
			return strings.HasPrefix(url, "https://maps.example/#") && strings.Contains(url, "/52") && strings.HasSuffix(url, track.DeviceID(2).String())
		}
	},
	"mask": func(r *rig) func() bool {
		r.choose(r.store.Find(2))
		return func() bool { r.hides("anna", "bert"); return r.mask != nil && r.mask.On }
	},
	"next":   selects(1, "bert"),
	"prev":   selects(3, "bert"),
	"top":    selects(3, "anna"),
	"bottom": selects(1, "dora"),
	"sort": func(r *rig) func() bool {
		return func() bool { r.shows("4 by name"); return r.list.by == fleet.ByName && !r.list.reverse }
	},
	"reverse": func(r *rig) func() bool {
		r.sortBy(fleet.ByName, false)
		return func() bool {
			r.shows("4 by name, reversed")
			return rowNames(r) == "dora carl bert anna"
		}
	},
	"enter": func(r *rig) func() bool {
		r.details = false
		r.choose(r.store.Find(2))
		return func() bool { r.shows("╭─ bert"); return r.details }
	},
	"back": func(r *rig) func() bool {
		r.choose(r.store.Find(2))
		r.follow = true
		return func() bool { return !r.follow && r.sel == 2 }
	},
	"pause": func(r *rig) func() bool {
		return func() bool { r.shows("PAUSED 0 new"); return r.held != nil && r.store == r.held }
	},
	"back-step": travels(0, -1),
	"step":      travels(-5*time.Minute, 1),
	"back-leap": travels(0, -10),
	"leap":      travels(-20*time.Minute, 10),
	"live": func(r *rig) func() bool {
		r.player = past.New(history{}, r.live, r.clock.Now)
		r.player.Seek(r.clock.At.Add(-time.Hour))
		r.compose()
		r.shows("REPLAY")
		return func() bool { r.shows("● LIVE", "4 dev"); return r.present() }
	},
	"base": func(r *rig) func() bool {
		return func() bool {
			r.shows("base map: no land")
			return r.scene.Layers == chart.Everything&^chart.Fill
		}
	},
	"mouse": func(r *rig) func() bool {
		return func() bool { r.shows("the mouse is the terminal's"); return !r.Wants().Mouse }
	},
	"retry": func(r *rig) func() bool {
		line := &lineOf{}
		r.keeper = newKeeper(line, r.live)
		r.live.Take(&client.Event{Kind: client.Disconnected, Err: errors.New("reset"), RetryIn: time.Minute})
		return func() bool { return line.hurried == 1 && len(r.keeper.wish) == 1 }
	},
	"redraw":  func(r *rig) func() bool { return func() bool { return r.Wants().Redraw } },
	"suspend": func(r *rig) func() bool { return func() bool { return r.Wants().Suspend } },
	"quit":    func(r *rig) func() bool { return func() bool { return r.Wants().Quit } },
	"help": func(r *rig) func() bool {
		return func() bool { r.shows("╭─ Keys"); return r.help }
	},
}

func pans(dx, dy float64) func(*rig) func() bool {
	return func(r *rig) func() bool {
		r.look(48, 11, 5)
		was := r.view.At(0, 0)
		return func() bool {
			x, y := r.view.Dot(was)
			return math.Abs(x+dx*float64(r.view.W)) < 1 && math.Abs(y+dy*float64(r.view.H)) < 1 && !r.fitting
		}
	}
}

func zooms(by float64) func(*rig) func() bool {
	return func(r *rig) func() bool {
		r.look(48, 11, 5)
		return func() bool { return r.view.Zoom == 5+by && r.centredOn(48, 11) }
	}
}

func focuses(from, to focus) func(*rig) func() bool {
	return func(r *rig) func() bool {
		r.focus = from
		return func() bool { return r.focus == to }
	}
}

func asks(what purpose, text string) func(*rig) func() bool {
	return func(r *rig) func() bool {
		return func() bool {
			r.shows(" " + sign[what])
			return r.prompt.purpose == what && strings.HasSuffix(r.prompt.string(), text)
		}
	}
}

func tabbed(from, to eventTab) func(*rig) func() bool {
	return func(r *rig) func() bool {
		r.events.tab, r.events.shown = from, false
		return func() bool { r.shows(fmt.Sprintf("▸%d:%v", to+1, to)); return r.events.tab == to }
	}
}

// selects begins with a device selected in a list by names.
func selects(from track.DeviceID, to string) func(*rig) func() bool {
	return func(r *rig) func() bool {
		r.sortBy(fleet.ByName, false)
		r.choose(r.store.Find(from))
		return func() bool { return r.store.Name(r.selIndex) == to }
	}
}

func travels(from time.Duration, steps int) func(*rig) func() bool {
	return func(r *rig) func() bool {
		r.player = past.New(history{}, r.live, r.clock.Now)
		r.player.Seek(r.clock.At.Add(from))
		r.compose()
		return func() bool {
			r.shows("◀ REPLAY")
			return r.player.State().At.Equal(r.clock.At.Add(from + time.Duration(steps)*r.conf.Time.Step))
		}
	}
}

func (r *rig) look(lat, lon, zoom float64) {
	r.showPlace(world.Project(geo.Deg(lat, lon)), 0)
	r.view.Zoom = zoom
	r.compose()
}

func (r *rig) centredOn(lat, lon float64) bool {
	at := r.view.Centre.Point()
	return math.Abs(at.LatDeg()-lat) < 1e-5 && math.Abs(at.LonDeg()-lon) < 1e-5
}

// sos lets devices report that.
func (r *rig) sos(ids ...track.DeviceID) {
	r.clock.Advance(time.Minute)
	for _, id := range ids {
		f, _, _ := r.live.Info(r.live.Find(id))
		f.Time, f.Received, f.Event = r.clock.At, r.clock.At, "sos"
		r.live.Apply([]client.Fix{f})
	}
	r.compose()
}

// walkers are four devices, of which each has something of its own.
func walkers(t *testing.T) *rig {
	r := newRig(t, 120, 40, "plain")
	r.Resize(120, 50)
	fixes := []client.Fix{
		fixOf(1, "anna", epoch, 48, 11), fixOf(2, "bert", epoch, 52, 13), fixOf(3, "carl", epoch, 45, 9), fixOf(4, "dora", epoch, 50, 2),
	}
	fixes[1].Has |= track.HasVel | track.HasBat
	fixes[1].Speed, fixes[1].Battery = 20, 70
	return r.load(fixes...)
}

// hit sends a key as a terminal does.
func (r *rig) hit(keys ...string) *rig {
	for _, k := range keys {
		r.Handle(tty.Event{Kind: tty.Press, Key: k})
	}
	r.compose()
	return r
}

func TestEveryKeyDoesWhatItsActionIsFor(t *testing.T) {
	walk(t, nil)
	for name := range walks {
		if !slices.ContainsFunc(actions(), func(a action) bool { return a.Name == name }) {
			t.Errorf("%s is no action", name)
		}
	}
}

// walk presses every key of every action under a keymap, nil is everybody's.
func walk(t *testing.T, keys *conf.Keymap) {
	for _, a := range actions() {
		trial, ok := walks[a.Name]
		if !ok {
			t.Errorf("%s: nobody says what it is to do; walks has to", a.Name)
			continue
		}
		all := walkers(t).keys.Keys(a.Name)
		if keys != nil {
			all = keys.Keys(a.Name)
		}
		if len(all) == 0 {
			t.Errorf("%s has no key", a.Name)
		}
		for _, key := range all {
			r := walkers(t)
			if keys != nil {
				r.keys = keys
			}
			done := trial(r)
			r.compose()
			r.hit(key)
			if !done() {
				t.Errorf("%s: key %s does not do it:\n%s", a.Name, key, r.see.Frame)
			}
			checkFrame(t, a.Name, r.screen)
		}
	}
}

// elsewhere binds every action to another key, and leaves nothing on the old ones.
func elsewhere(t *testing.T) *conf.Keymap {
	bound := map[string][]string{}
	for i, a := range actions() {
		bound[a.Name] = []string{fmt.Sprintf("f%d", i+1)}
		if i >= 24 {
			bound[a.Name] = []string{"alt+" + string(rune('a'+i-24))}
		}
		if i >= 24+26 {
			bound[a.Name] = []string{"ctrl+alt+" + string(rune('a'+i-50))}
		}
	}
	keys, err := (&conf.Config{Keys: bound}).Keymap(Actions())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKeysThatAreBoundElsewhereWorkThereOnly(t *testing.T) {
	keys := elsewhere(t)
	walk(t, keys)
	r := walkers(t)
	r.keys = keys
	r.compose()
	before, view := r.see.Frame, r.view
	for _, a := range actions() {
		for _, key := range a.Default {
			r.hit(key)
			if w := r.Wants(); r.see.Frame != before || r.view != view || w.Quit || w.Suspend || w.Redraw || w.Copy != "" {
				t.Fatalf("%s still does something:\n%s", key, r.see.Frame)
			}
		}
	}
}

// pages scrolls through the help and gives all that it shows.
func (r *rig) pages(open, down string) string {
	r.hit(open)
	all := r.see.Frame
	for range 100 {
		r.hit(down)
		if !r.help {
			return all // there was nothing more to scroll to
		}
		all += r.see.Frame
	}
	return all
}

func TestTheHelpIsMadeFromTheKeysThatHold(t *testing.T) {
	for _, size := range [][2]int{{120, 60}, {80, 24}, {80, 7}} {
		for _, keys := range []*conf.Keymap{walkers(t).keys, elsewhere(t)} {
			r := walkers(t)
			r.keys = keys
			r.Resize(size[0], size[1])
			shown := r.pages(keys.Keys("help")[0], keys.Keys("pan-down")[0])
			told := map[string]bool{}
			for _, row := range keys.Rows() {
				if !strings.Contains(shown, row.Label) || !strings.Contains(shown, strings.TrimSuffix(canvas.Truncate(row.Help, 45), "…")) {
					t.Errorf("%v: the help does not tell of %s: %s", size, row.Label, row.Help)
				}
				for _, name := range row.Actions {
					told[name] = true
				}
			}
			for _, a := range actions() {
				if !told[a.Name] {
					t.Errorf("no row of the help is about %s", a.Name)
				}
			}
			for _, row := range mouseHelp {
				if !strings.Contains(shown, row.Label) {
					t.Errorf("%v: the help does not tell of the mouse: %s", size, row.Label)
				}
			}
		}
	}
}
