package gate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tracker/pkg/track"
)

// Plant is a fault that a side is given, to see whether a gate finds it. The zero Plant is
// none: the same binary twice.
type Plant struct {
	Fault string  // by its name among plants; empty: none
	Size  float64 // as a share of what the base costs; of a cost only
	How   string  // as the server reads it; of a failure only
	Base  bool    // it is the base that is given it
}

// plants says which fault is planted how, and where it has to show: as a cost that regressed,
// or as a failure.
var plants = map[string]struct {
	finds []string // costs by full name, of which one is enough
	// sized is the metric that the fault's size is a share of; empty: it is one itself.
	sized string
	fails string // the kind of Failure
	works string // where that shows
}{
	"cpu":     {finds: []string{"rpc.cpu"}, sized: "rpc.cpu"},         // of a request
	"write":   {finds: []string{"rpc.writes", "fanout.writes"}},       // system calls that do
	"latency": {finds: []string{"latency.p50"}, sized: "latency.p50"}, // until an answer leaves
	"wrong":   {fails: Wrong, works: "rpc"},                           // answers
	"drop":    {fails: Wrong, works: "fanout"},                        // deliveries
	"crash":   {fails: Died, works: "rpc"},                            // in the middle
	"mute":    {fails: Missing, works: "rpc"},                         // a metric
}

const onBase = "base:"

// ParsePlant reads "none", a cost that is to be worse by a share, "cpu=25%", or a failure as
// the server reads it, "wrong=1000". The base is given a failure by "base:" before it.
func ParsePlant(s string) (Plant, error) {
	if s == "none" {
		return Plant{}, nil
	}
	text, isBase := strings.CutPrefix(s, onBase)
	name, size, _ := strings.Cut(text, "=")
	switch kind, ok := plants[name]; {
	case !ok || size == "" || strings.ContainsAny(size, ", "):
		return Plant{}, fmt.Errorf("%q: want none, cpu=25%%, write=10%%, latency=25%%, or a failure: wrong=1000, drop=1000, crash=2s, mute=METRIC: %w", s, track.ErrInvalid)
	case kind.fails != "":
		return Plant{Fault: name, How: text, Base: isBase}, nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(size, "%"), 64)
	switch {
	case isBase:
		return Plant{}, fmt.Errorf("%q: the base can be given a failure, and no cost: %w", s, track.ErrInvalid)
	case err != nil || !strings.HasSuffix(size, "%") || !(v >= 1 && v <= 1000):
		return Plant{}, fmt.Errorf("%q: want a share, such as %s=25%%: %w", s, name, track.ErrInvalid)
	case name == "write" && (v > 100 || v != math.Trunc(v)):
		return Plant{}, fmt.Errorf("%q: want whole per cent, 100 at most: %w", s, track.ErrInvalid)
	}
	return Plant{Fault: name, Size: v / 100}, nil
}

func (p Plant) String() string {
	switch {
	case p.Fault == "":
		return "none"
	case p.Base:
		return onBase + p.How
	case p.How != "":
		return p.How
	}
	return fmt.Sprintf("%s=%g%%", p.Fault, math.Round(p.Size*1e4)/1e2)
}

// certain is the size from which a plant has to be found every time. A smaller one has to
// be found in most: it may drown in a noisy minute.
const (
	certain = 0.2
	most    = 0.8
)

// need is how many of n gates have to find the plant.
func (p Plant) need(n int) int {
	if p.Size >= certain || p.Fault == "write" || p.How != "" {
		return n
	}
	return int(math.Ceil(most * float64(n)))
}

// caused tells whether a failure is what was planted.
func (p Plant) caused(f *Failure) bool {
	side := sideNames[head]
	if p.Base {
		side = sideNames[base]
	}
	return f != nil && p.How != "" && f.Kind == plants[p.Fault].fails && f.Side == side
}

// shows tells whether a metric is one of those in which the plant has to be found.
func (p Plant) shows(metric string) bool { return slices.Contains(plants[p.Fault].finds, metric) }
