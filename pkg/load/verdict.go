package load

import "fmt"

// Validity says whether a result may be quoted.
type Validity string

const (
	Valid   Validity = "VALID"
	Suspect Validity = "SUSPECT" // something could change the conclusion
	Invalid Validity = "INVALID" // do not quote
)

// Severity is what a warning does to the validity.
type Severity string

const (
	Info  Severity = "info"
	Doubt Severity = "suspect"
	Ruin  Severity = "invalid"
)

// Warning is a known mistake that a run may have made; see docs/benchmarks.md for the
// list by ID.
type Warning struct {
	ID       string         `json:"id"` // "W01"
	Severity Severity       `json:"severity"`
	Text     string         `json:"text"`
	Evidence map[string]any `json:"evidence,omitempty"`
}

// Verdict is the validity and why.
type Verdict struct {
	Validity Validity  `json:"validity"`
	Warnings []Warning `json:"warnings"`
}

// Warn adds a warning and lowers the validity to what it deserves.
func (v *Verdict) Warn(id string, s Severity, evidence map[string]any, format string, args ...any) {
	v.Warnings = append(v.Warnings, Warning{id, s, fmt.Sprintf(format, args...), evidence})
	switch {
	case s == Ruin:
		v.Validity = Invalid
	case s == Doubt && v.Validity == Valid:
		v.Validity = Suspect
	}
}

// Has tells whether a warning was given.
func (v *Verdict) Has(id string) bool {
	for _, w := range v.Warnings {
		if w.ID == id {
			return true
		}
	}
	return false
}
