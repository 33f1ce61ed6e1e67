package peers

import (
	"fmt"
	"strings"
)

// Unit is what a row's figures are.
type Unit string

// The units, and how they are told.
const (
	PerSecond Unit = "calls/s"
	Seconds   Unit = "s"
	Bytes     Unit = "B"
	Share     Unit = "share" // of one processor
)

// Bar is what a row has to reach: its median, or its ratio if Ratio is set.
type Bar struct {
	Ratio bool    `json:"ratio,omitempty"`
	Most  bool    `json:"most,omitempty"` // the figure has to stay below, not above
	Limit float64 `json:"limit"`
}

func least(v float64) *Bar        { return &Bar{Limit: v} }
func most(v float64) *Bar         { return &Bar{Limit: v, Most: true} }
func atLeastRatio(v float64) *Bar { return &Bar{Limit: v, Ratio: true} }

func (b *Bar) held(v float64) bool {
	if b.Most {
		return v <= b.Limit
	}
	return v >= b.Limit
}

func (b *Bar) text(u Unit) string {
	sign := ">= "
	if b.Most {
		sign = "<= "
	}
	if b.Ratio {
		return fmt.Sprintf("%s%.3gx", sign, b.Limit)
	}
	return sign + u.Text(b.Limit)
}

// Text is a figure for people, with three digits.
func (u Unit) Text(v float64) string {
	switch u {
	case PerSecond:
		return scaled(v, []string{"", " k", " M", " G"}, 1000) + "/s"
	case Bytes:
		return scaled(v, []string{" B", " KiB", " MiB", " GiB"}, 1024)
	case Seconds:
		return scaled(v*1e9, []string{" ns", " us", " ms", " s"}, 1000)
	case Share:
		return fmt.Sprintf("%.1f %%", 100*v)
	}
	return fmt.Sprint(v)
}

func scaled(v float64, units []string, step float64) string {
	i := 0
	for (v >= step || v <= -step) && i < len(units)-1 {
		v /= step
		i++
	}
	digits := 2
	switch {
	case v >= 100 || v <= -100 || strings.TrimSpace(units[i]) == "":
		digits = 0
	case v >= 10 || v <= -10:
		digits = 1
	}
	return fmt.Sprintf("%.*f%s", digits, v, units[i])
}

// The bars: what the product promises on two cores, one for the server, one for the
// client. Rates are calls a second, ratios those of the same round.
var (
	barSum   = map[int]*Bar{64: least(1e6), 512: least(3e6), 4096: least(6e6)}
	barRedis = map[int]*Bar{64: atLeastRatio(1.5), 512: atLeastRatio(2.2), 4096: atLeastRatio(3)}
	barCost  = most(170e-9) // CPU of the server a call, at the greatest depth
	barGRPC  = atLeastRatio(100)
	barSleep = least(150e3)
	barShare = atLeastRatio(0.7)
	barP50   = most(200e-6)
	barTLS   = atLeastRatio(0.6)
	barMany  = least(180e3)
	barIdle  = most(10 << 10)
	barBusy  = most(25 << 10)
)
