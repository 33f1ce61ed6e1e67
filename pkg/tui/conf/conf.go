// Package conf is what people may set about the map, and the keys that it answers to.
//
//	actions (named, with default keys) ──┐
//	Config (what people changed) ────────┴──► Keymap ──► help, hints, what a key does
package conf

import (
	"fmt"
	"strings"
	"time"
)

// Config is what people may set. The zero value of a field leaves it as it is.
type Config struct {
	Theme, Glyphs, Layout string
	FPS                   int
	Stale, Lost           time.Duration
	Colour, Trails        string
	Mouse                 bool
	Filters               map[string]string // by name
	Overlays              []string          // files
	Time                  struct{ Step time.Duration }
	Battery               struct{ Low int } // percent
	Open                  string            // URL template with {lat} {lon} {z} {id}
	Keys                  map[string][]string
	Themes                map[string]Theme
}

// Theme is a theme of the user's own: a colour for each style that is named.
type Theme map[string]string

// Defaults are the settings of people who set nothing.
func Defaults() *Config {
	c := &Config{Stale: 2 * time.Minute, Lost: 15 * time.Minute, Mouse: true}
	c.Time.Step = 10 * time.Second
	c.Battery.Low = 15
	return c
}

// Load reads a file of settings. No file can be read so far: it gives the defaults.
func Load(string) (*Config, error) { return Defaults(), nil }

// Mistake is what is wrong with a file of settings, and where.
type Mistake struct {
	File      string
	Line, Col int // from 1; 0 not known
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

// quoted lists keys or names as people should read them.
func quoted(names []string) string {
	return `"` + strings.Join(names, `", "`) + `"`
}
