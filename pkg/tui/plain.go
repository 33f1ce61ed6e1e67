package tui

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// Plain tells of the fleet in sentences, one a second at most: for screen readers,
// logs and terminals that cannot show a map. It ends like Run, and with a last summary
// when the feed is complete. Nothing is ever written twice or taken back, and there is
// no glyph art in it.
func Plain(ctx context.Context, w io.Writer, o Options) error {
	store := NewStore(o.Now)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fed := startFeed(ctx, &o, store)

	n := narrator{store: store, now: o.now(),
		ages: ages{stale: o.staleAfter().Milliseconds(), lost: o.lostAfter().Milliseconds()}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := say(w, n.next()); err != nil {
				cancel()
				<-fed
				return err
			}
		case err := <-fed:
			if err == nil && ctx.Err() == nil {
				err = say(w, n.summary())
			}
			return err
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
	store *Store
	now   func() time.Time
	ages  ages

	points  []point
	told    map[track.DeviceID]int64 // when the fix that was last told of a device was heard
	alarmed map[track.DeviceID]int64 // which alarm was last told of
	link    LinkState
	turn    int // of the devices
	said    int
	last    status
	lastAt  time.Time
}

const summaryEvery = 10 // sentences

// next is one line, or nothing if there is nothing to say.
func (n *narrator) next() string {
	if n.told == nil {
		n.told, n.alarmed = map[track.DeviceID]int64{}, map[track.DeviceID]int64{}
		n.lastAt, n.last = n.now(), n.store.status()
	}
	n.points = n.store.copyPoints(n.points)
	if line := n.linkChange(); line != "" {
		return line
	}
	if line := n.alarm(); line != "" {
		return line
	}
	if n.said%summaryEvery == 0 {
		if len(n.points) == 0 {
			return ""
		}
		n.said++
		return n.summary()
	}
	line := n.device()
	if line == "" && n.store.status().fixes == n.last.fixes {
		return ""
	}
	n.said++
	return line
}

func (n *narrator) describe(f *client.Fix, name string, p *point) string {
	now := n.now().UnixMilli()
	return sentence(name, f, p.state(now, &n.ages), time.Duration(now-p.heard)*time.Millisecond)
}

func (n *narrator) stamp(line string) string {
	// One line, whatever the words come from.
	return n.now().UTC().Format("15:04:05 ") + strings.ReplaceAll(line, "\n", " ")
}

func (n *narrator) linkChange() string {
	link := n.store.status().link
	if link.State == n.link {
		return ""
	}
	n.link = link.State
	words := map[LinkState]string{Connecting: "connecting", Live: "live", Reconnecting: "reconnecting", Ended: "ended"}[link.State]
	if link.Note != "" {
		words += ", " + link.Note
	}
	return n.stamp("link: " + words + ".")
}

// alarm tells of a device that reports something for a person: once, and again if it
// goes on after the time for which an alarm is shown.
func (n *narrator) alarm() string {
	for i := range n.points {
		p := &n.points[i]
		if !p.alive || !p.alarmed(n.now().UnixMilli()) {
			continue
		}
		fix, name, ok := n.store.info(int32(i))
		if told := n.alarmed[fix.Device]; ok && (told == 0 || p.alarm-told >= alarmFor.Milliseconds()) {
			n.alarmed[fix.Device] = p.alarm
			return n.stamp("alert: " + n.describe(&fix, name, p))
		}
	}
	return ""
}

// device tells of the next device with news.
func (n *narrator) device() string {
	for range n.points {
		i := n.turn % len(n.points)
		n.turn++
		p := &n.points[i]
		fix, name, ok := n.store.info(int32(i))
		if !ok || !p.alive || n.told[fix.Device] == p.heard {
			continue
		}
		n.told[fix.Device] = p.heard
		return n.stamp(n.describe(&fix, name, p))
	}
	return ""
}

func (n *narrator) summary() string {
	n.points = n.store.copyPoints(n.points)
	now, st := n.now(), n.store.status()
	var counts [stateCount]int
	for i := range n.points {
		if p := &n.points[i]; p.alive {
			counts[p.state(now.UnixMilli(), &n.ages)]++
		}
	}
	line := fmt.Sprintf("summary: %s", plural(st.devices, "device"))
	for _, s := range []state{isAlert, isMoving, isIdle, isStale, isLost} {
		if counts[s] > 0 {
			line += fmt.Sprintf(", %d %s", counts[s], stateLooks[s].name)
		}
	}
	if d := now.Sub(n.lastAt); d > 0 && st.fixes > n.last.fixes {
		line += fmt.Sprintf("; %s fixes a second", rate(float64(st.fixes-n.last.fixes)/d.Seconds()))
	}
	n.last, n.lastAt = st, now
	return n.stamp(line + ".")
}

func plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}
