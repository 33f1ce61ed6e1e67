package tui

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/words"
)

// leap is how many steps a leap in time is.
const leap = 10

// present tells whether the screen shows what is, or was when the picture was paused, and
// not what history tells.
func (s *screen) present() bool { return s.store == s.live || s.store == s.held }

// travel takes the store that is to be shown now: of the player, or the one that is held.
// Devices are known by their ids, so the selection stays.
func (s *screen) travel() {
	store := s.live
	if s.player != nil {
		s.moved = s.player.State().Version
		store = s.player.Store()
	}
	switch {
	case store != s.live:
		s.held = nil // a picture of the present is no picture of the past
	case s.held != nil:
		store = s.held
	}
	if store != s.store {
		s.store = store
		s.events.forget()
		s.events.past = !s.present()
		s.counted, s.countAt = 0, time.Time{}
	}
}

// stepTime goes so many steps through time.
func (s *screen) stepTime(steps int) {
	if s.player == nil {
		s.say("there is no history to go back to")
		return
	}
	s.wantFirst()
	s.player.Step(time.Duration(steps) * s.conf.Time.Step)
}

// wantFirst has the history of those loaded first that are meant. Where all are, nobody
// comes first, and a key that is held down looks at none of them.
func (s *screen) wantFirst() {
	s.first = s.first[:0]
	if s.flt != nil {
		s.first = s.meant(s.first)
	}
	s.player.First(s.first)
}

// meant appends those whom the filter means.
func (s *screen) meant(ids []track.DeviceID) []track.DeviceID {
	for i, m := range s.frame.Marks {
		if !m.Matches() {
			continue
		}
		if id, ok := s.frame.Device(int32(i)); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// goLive goes back to the present, as it is now.
func (s *screen) goLive() {
	s.held = nil
	if s.player != nil {
		s.player.Live()
	}
}

// hold pauses the picture, or in the past lets time run or stand.
func (s *screen) hold() {
	if s.present() {
		s.togglePause()
		return
	}
	if s.player.State().Speed > 0 {
		s.player.Pause()
		return
	}
	s.player.Play(s.pace())
}

func (s *screen) pace() float64 {
	if s.fast > 0 {
		return s.fast
	}
	return 1
}

// setSpeed lets the past go by at so many times the speed of life.
func (s *screen) setSpeed(text string) error {
	v, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSuffix(text, "x"), "×"), 64)
	switch {
	case err != nil || !(v > 0) || math.IsInf(v, 0):
		return fmt.Errorf("speed %q: want a number above 0, such as 60", canvas.Clean(text))
	case s.player == nil || s.present():
		return fmt.Errorf("that is the present; %s goes back", s.keyFor("back-step"))
	}
	s.fast = v
	s.player.Play(v)
	return nil
}

// seekText goes to a moment that somebody wrote.
func (s *screen) seekText(text string) error {
	if s.player == nil {
		return fmt.Errorf("there is no history to go back to")
	}
	at, err := moment(text, s.store.Now())
	if err != nil {
		return err
	}
	s.wantFirst()
	s.player.Seek(at)
	return nil
}

// moment reads 14:05, 14:05:30, 2026-01-02 14:05, RFC 3339, or -10m; a time without a day
// is the last one before now.
func moment(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "-") {
		if d, err := time.ParseDuration(text[1:]); err == nil && d > 0 {
			return now.Add(-d), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(layout, strings.TrimSuffix(text, "Z")); err == nil {
			y, m, d := now.UTC().Date()
			at := time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
			if at.After(now) {
				at = at.AddDate(0, 0, -1)
			}
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time; want 14:05, 2026-01-02 14:05, or -10m", canvas.Clean(text))
}

// pastParts say where in time the screen is.
func (s *screen) pastParts() []part {
	st := s.player.State()
	label := "◀ REPLAY " + st.At.UTC().Format("2006-01-02 15:04:05Z")
	switch {
	case st.Speed > 0:
		label += fmt.Sprintf(" ×%g", st.Speed)
	default:
		label += " held"
	}
	parts := []part{{label, look.Warn, 0}}
	if st.Loading {
		parts = append(parts, part{fmt.Sprintf("loading %s of %s", words.Thousands(st.Loaded), words.Thousands(st.Total)), look.Dim, 4})
	}
	if st.Err != nil {
		parts = append(parts, part{canvas.Clean(s.mask.Text(st.Err.Error())), look.Warn, 6})
	}
	return parts
}

// sparks are the heights of a slot of a sparkline.
var sparks = []rune("▁▂▃▄▅▆▇█")

// spark draws slots of a measure as a line of blocks, up to the highest of them.
func spark(values []int, w int) string {
	if len(values) > w {
		values = values[len(values)-w:]
	}
	most := 1
	for _, v := range values {
		most = max(most, v)
	}
	out := make([]rune, len(values))
	for i, v := range values {
		out[i] = ' '
		if v != fleet.Nothing {
			out[i] = sparks[min(v*len(sparks)/(most+1), len(sparks)-1)]
		}
	}
	return string(out)
}
