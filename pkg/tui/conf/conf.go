// Package conf is what people may set about the map, and the keys that it answers to.
//
//	actions (named, with default keys) ─────────────┐
//	settings ── Load ──► Config (what holds now) ───┴──► Keymap ──► help, hints, what a key does
//	    │                   └──► Look ──► look.Theme
//	    └──► Schema, Config.TOML, Keymap.TOML
//
// One table of settings serves reading, printing and the schema, so that none of them
// can say something else. A file is read before the terminal is taken; all that is wrong
// with it is said at once, each mistake with its line and column.
package conf

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is what people may set. Those who set nothing have Defaults.
type Config struct {
	Theme, Glyphs, Layout string
	FPS                   int
	Stale, Lost           time.Duration
	Colour, Trails        string
	Mouse                 bool
	Filters               map[string]string // by name; all of them parse
	Overlays              []string          // files, absolute or below the working directory
	Time                  struct{ Step time.Duration }
	Battery               struct{ Low int }   // percent
	Open                  string              // URL template with {lat} {lon} {z} {id}; see URL
	Keys                  map[string][]string // by action: those that are not the defaults
	Themes                map[string]Theme    // by name; see Look

	from *source // nil if it is not out of a file
}

// Defaults are the settings of people who set nothing.
func Defaults() *Config {
	c := &Config{
		Theme: "system", Glyphs: "auto", Layout: "auto", FPS: 10,
		Stale: 2 * time.Minute, Lost: 15 * time.Minute,
		Colour: "state", Trails: "selected", Mouse: true,
	}
	c.Time.Step = 10 * time.Second
	c.Battery.Low = 15
	return c
}

// URL is where Open leads for a device: the template with its places filled in. It is
// empty if nothing is set.
func (c *Config) URL(lat, lon, zoom float64, id string) string {
	number := func(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	return strings.NewReplacer(
		"{lat}", number(lat, 6), "{lon}", number(lon, 6), "{z}", number(zoom, 0), "{id}", url.QueryEscape(id),
	).Replace(c.Open)
}

// Mistake is what is wrong with a file of settings, and where.
type Mistake struct {
	File      string
	Line, Col int // from 1, columns in characters; 0 not known
	Msg       string
}

func (m *Mistake) Error() string {
	switch {
	case m.File == "":
		return m.Msg
	case m.Line == 0:
		return m.File + ": " + m.Msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Col, m.Msg)
}

// maxMistakes is how many are told of one file: who has more has another problem.
const maxMistakes = 50

// joined makes one error of all mistakes, in the order of the file. It is nil if there
// are none.
func joined(file string, ms []*Mistake) error {
	slices.SortStableFunc(ms, func(a, b *Mistake) int {
		if d := a.Line - b.Line; d != 0 {
			return d
		}
		return a.Col - b.Col
	})
	var errs []error
	for i, m := range ms {
		if i == maxMistakes {
			errs = append(errs, &Mistake{File: file, Msg: fmt.Sprintf("and %d mistakes more", len(ms)-i)})
			break
		}
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

// quoted lists keys or names as people should read them.
func quoted(names ...string) string {
	q := make([]string, len(names))
	for i, name := range names {
		q[i] = strconv.Quote(name)
	}
	return strings.Join(q, ", ")
}

// guess is how a message about an unknown name ends: with the name that was meant, if
// one is near.
func guess(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return "; did you mean " + quoted(near) + "?"
	}
	return ""
}

// Nearest is the name that was probably meant, or empty if none is near.
func Nearest(name string, known []string) string {
	best, least := "", 2+min(len(name)/3, 2)
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters have to be changed, added, left out or swapped with
// their neighbour to make b of a. Names of more than 64 bytes are far from everything.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var rows [3][65]int // the row before the last, the last, this one
	for j := range len(b) + 1 {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		rows[2][0] = i
		for j := 1; j <= len(b); j++ {
			changed := rows[1][j-1]
			if a[i-1] != b[j-1] {
				changed++
			}
			d := min(changed, rows[1][j]+1, rows[2][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[0][j-2]+1)
			}
			rows[2][j] = d
		}
		rows[0], rows[1] = rows[1], rows[2]
	}
	return rows[1][len(b)]
}
