// Package trend remembers what runs measured, and finds where the figures changed.
//
//	gate.Report ─► FromGate ─► Line ─► Append ─► history: a line a run
//	                                                │
//	 what changed, between which commits, ◄─ Look ◄─ Read
//	 and whether it was the machine
//
// Figures of different machines, of different settings or of different units are never
// held against each other: each has a series of its own. In a series the runs before a
// change are compared with those after it, so a change is found only when some runs lie
// behind it. That is why a trend judges no build; see gate for what does.
package trend

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"

	"tracker/pkg/load"
)

// Schema names the form of a Line. Unknown members are allowed; removing one, or changing
// what it means, makes a new number.
const Schema = "trackbench.history/1"

// Kind is what a line was made of.
type Kind string

// Gate is the kind of what FromGate makes, and the only one.
const Gate Kind = "gate"

// Line is one run.
type Line struct {
	Schema      string       `json:"schema"` // stands first: see torn
	ID          string       `json:"id,omitempty"`
	Time        load.Instant `json:"time"`
	Kind        Kind         `json:"kind"`
	Fingerprint string       `json:"fingerprint"`       // of the machine
	Machine     string       `json:"machine,omitempty"` // what the fingerprint is of, for people
	// Setting is what else has to be equal for two runs to be comparable.
	Setting string           `json:"setting,omitempty"`
	Commit  string           `json:"commit,omitempty"` // of the server that was measured
	Version string           `json:"version,omitempty"`
	Series  map[string]Value `json:"series"`
	// Base is what a gate held it against. It was measured in the same minutes, so as long
	// as it is the same build it tells of the machine.
	Base *Base `json:"base,omitempty"`
	// Canary is what a server that does nothing cost in the same run: if that changes, the
	// machine did.
	Canary map[string]Value `json:"canary,omitempty"`
}

// Base is the other side of a gate.
type Base struct {
	Commit  string           `json:"commit,omitempty"`
	Version string           `json:"version,omitempty"`
	Series  map[string]Value `json:"series"`
}

// Value is one figure of a run. A rate, "/s" at the end of its unit, is better the higher
// it is; anything else is a cost, and better the lower.
type Value struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	N     int     `json:"n,omitempty"` // launches that it is the median of
}

// rate tells whether more of a unit is better.
func rate(unit string) bool { return strings.HasSuffix(unit, "/s") }

// ErrNothing says that a run has no figure to remember.
var ErrNothing = errors.New("nothing was measured that could be remembered")

// What a line may have at most. Ours are far below.
const (
	maxSeries = 1000
	maxName   = 200  // bytes of a metric, unit or commit
	maxText   = 2000 // bytes of any other text
	maxRuns   = 1 << 20
)

// check tells what is wrong with a line, whether it is to be written or was read: there
// is no figure that cannot be compared and no text that cannot be printed.
func (l *Line) check() error {
	switch {
	case l.Schema != Schema:
		return fmt.Errorf("schema %.40q, want %q", l.Schema, Schema)
	case len(l.Series) == 0:
		return ErrNothing
	case l.Kind != Gate:
		return fmt.Errorf("kind %.40q", l.Kind)
	case l.Time.UTC().Year() < 2000 || l.Time.UTC().Year() > 2200:
		return fmt.Errorf("time %v", l.Time.UTC())
	case l.Fingerprint == "":
		return errors.New("no fingerprint")
	}
	err := errors.Join(texts(maxName, l.ID, l.Fingerprint, l.Commit, l.Version), texts(maxText, l.Machine, l.Setting), checkValues(l.Series), checkValues(l.Canary))
	if l.Base != nil {
		err = errors.Join(err, texts(maxName, l.Base.Commit, l.Base.Version), checkValues(l.Base.Series))
	}
	return err
}

func checkValues(series map[string]Value) error {
	if len(series) > maxSeries {
		return fmt.Errorf("%d figures, more than %d", len(series), maxSeries)
	}
	for name, v := range series {
		switch {
		case name == "":
			return errors.New("a figure without a name")
		case !(v.Value >= 0) || math.IsInf(v.Value, 0):
			return fmt.Errorf("%.40q is %v", name, v.Value)
		case v.N < 0 || v.N > maxRuns:
			return fmt.Errorf("%.40q is of %d launches", name, v.N)
		}
		if err := texts(maxName, name, v.Unit); err != nil {
			return err
		}
	}
	return nil
}

// texts refuses what is too long, and what would move a terminal's cursor.
func texts(most int, list ...string) error {
	for _, s := range list {
		if len(s) > most {
			return fmt.Errorf("a text of %d bytes, %.40q", len(s), s)
		}
		if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("%.80q cannot be printed", s)
		}
	}
	return nil
}
