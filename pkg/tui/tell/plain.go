// Package tell is the map for people without a map: sentences for screen readers, logs
// and terminals that cannot show one.
package tell

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/words"
)

// Options say what to tell.
type Options struct {
	// Complete is closed when nothing more will come into the store: then a last
	// summary is told. It may be nil.
	Complete <-chan struct{}
}

// Plain tells of a store in sentences, one a second at most, until ctx is done or the
// store is complete. Nothing is ever written twice or taken back, and there is no glyph
// art in it. In is where questions come from; none is answered so far.
func Plain(ctx context.Context, _ io.Reader, w io.Writer, s *fleet.Store, o Options) error {
	n := narrator{store: s}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := say(w, n.next()); err != nil {
				return err
			}
		case <-o.Complete:
			return say(w, n.summary())
		case <-ctx.Done():
			return nil
		}
	}
}

func say(w io.Writer, line string) error {
	if line == "" {
		return nil
	}
	_, err := io.WriteString(w, line+"\n")
	return err
}

// narrator chooses what is worth a sentence.
type narrator struct {
	store *fleet.Store
	frame fleet.Frame

	told    map[track.DeviceID]int64 // when the fix that was last told of a device was heard
	alarmed map[track.DeviceID]int64 // which alarm was last told of
	link    fleet.LinkState
	turn    int // of the devices
	said    int
	last    fleet.Status
	lastAt  time.Time
}

const summaryEvery = 10 // sentences

// next is one line, or nothing if there is nothing to say.
func (n *narrator) next() string {
	if n.told == nil {
		n.told, n.alarmed = map[track.DeviceID]int64{}, map[track.DeviceID]int64{}
		n.lastAt, n.last = n.store.Now(), n.store.Status()
	}
	n.frame.Refresh(n.store, nil)
	if line := n.linkChange(); line != "" {
		return line
	}
	if line := n.alarm(); line != "" {
		return line
	}
	if n.said%summaryEvery == 0 {
		if len(n.frame.Points) == 0 {
			return ""
		}
		n.said++
		return n.summary()
	}
	line := n.device()
	if line == "" && n.frame.Status.Fixes == n.last.Fixes {
		return ""
	}
	n.said++
	return line
}

func (n *narrator) describe(f *client.Fix, name string, i int) string {
	return sentence(name, f, n.frame.Marks[i].State(), n.frame.Points[i].Age(n.frame.At))
}

func (n *narrator) stamp(line string) string {
	// One line, whatever the words come from.
	return n.store.Now().UTC().Format("15:04:05 ") + strings.ReplaceAll(line, "\n", " ")
}

var linkWords = [...]string{
	fleet.Connecting: "connecting", fleet.Live: "live", fleet.Reconnecting: "reconnecting", fleet.Ended: "ended", fleet.Denied: "denied",
}

func (n *narrator) linkChange() string {
	link := n.frame.Status.Link
	if link.State == n.link {
		return ""
	}
	n.link = link.State
	words := linkWords[link.State]
	if link.Note != "" {
		words += ", " + link.Note
	}
	return n.stamp("link: " + words + ".")
}

// alarm tells of a device that reports something for a person: once, and again if it
// goes on after the time for which an alarm is shown.
func (n *narrator) alarm() string {
	for i := range n.frame.Points {
		p := &n.frame.Points[i]
		if !p.Alive() || !p.Alarmed(n.frame.At) {
			continue
		}
		fix, name, ok := n.store.Info(int32(i))
		if told := n.alarmed[fix.Device]; ok && (told == 0 || p.AlarmAt()-told >= fleet.AlarmFor.Milliseconds()) {
			n.alarmed[fix.Device] = p.AlarmAt()
			return n.stamp("alert: " + n.describe(&fix, name, i))
		}
	}
	return ""
}

// device tells of the next device with news.
func (n *narrator) device() string {
	for range n.frame.Points {
		i := n.turn % len(n.frame.Points)
		n.turn++
		p := &n.frame.Points[i]
		fix, name, ok := n.store.Info(int32(i))
		if !ok || !p.Alive() || n.told[fix.Device] == p.Heard {
			continue
		}
		n.told[fix.Device] = p.Heard
		return n.stamp(n.describe(&fix, name, i))
	}
	return ""
}

func (n *narrator) summary() string {
	n.frame.Refresh(n.store, nil)
	now, st := n.store.Now(), n.frame.Status
	line := fmt.Sprintf("summary: %s", words.Plural(st.Devices, "device"))
	for _, s := range []filter.State{filter.Alert, filter.Moving, filter.Idle, filter.Stale, filter.Lost} {
		if c := n.frame.Counts[s]; c > 0 {
			line += fmt.Sprintf(", %d %v", c, s)
		}
	}
	if d := now.Sub(n.lastAt); d > 0 && st.Fixes > n.last.Fixes {
		line += fmt.Sprintf("; %s fixes a second", words.Rate(float64(st.Fixes-n.last.Fixes)/d.Seconds()))
	}
	n.last, n.lastAt = st, now
	return n.stamp(line + ".")
}

// sentence says where a device is, for readers and listeners who have no map. Nothing
// in it is art.
func sentence(name string, f *client.Fix, st filter.State, since time.Duration) string {
	s := name + ": "
	if !f.HasPos() {
		s += "no place known"
	} else {
		s += words.Place(f.At)
		if n := words.Near(f.At); n != "" {
			s += ", " + n
		}
	}
	s += ", " + st.String()
	if f.Has&track.HasVel != 0 && f.Speed >= 0.5 {
		s += " " + words.KMH(f.Speed) + " km/h " + words.Direction(f.Course)
	}
	if f.Has&track.HasBat != 0 {
		s += fmt.Sprintf(", battery %d percent", f.Battery)
	}
	if f.Event != "" {
		s += ", reports " + f.Event
	}
	return s + ", fix " + words.Spoken(since) + " ago."
}
