package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"tracker/pkg/load/gate"
)

// SelfTestText tells people what gates said of planted faults.
func SelfTestText(w io.Writer, t *gate.SelfTest) error {
	fmt.Fprintf(w, "%-13s %5s  %4s %9s %12s %6s  %-14s %s\n", "plant", "gates", "pass", "regressed", "inconclusive", "failed", "rate, 95 %", "time of a gate")
	for _, r := range t.Rows {
		fmt.Fprintf(w, "%-13s %5d  %4d %9d %12d %6d  %-14s %s\n", r.Plant, r.Gates, r.Pass, r.Regressed, r.Inconclusive, r.Failed,
			fmt.Sprintf("%.0f-%.0f %%", math.Floor(100*r.Low), math.Ceil(100*r.High)), gateTimes(r.TookNS))
		fmt.Fprintf(w, "  %s\n", trialText(r))
	}
	verdict := "held: what was planted was found, and nothing else"
	switch {
	case t.Partial:
		verdict = "interrupted"
	case !t.Held:
		verdict = "NOT HELD: see above"
	}
	_, err := fmt.Fprintf(w, "self-test  %s\n", verdict)
	return err
}

func trialText(r *gate.Trial) string {
	held := map[bool]string{true: "held", false: "NOT HELD"}[r.Held]
	if r.Plant == "none" {
		return fmt.Sprintf("%s: none may regress; in %d of %d the first batch raised an alarm", held, r.Alarms, r.Gates)
	}
	return fmt.Sprintf("%s: found by %d, wanted %d; head had %s", held, r.Found, r.Need, r.Fault)
}

// gateTimes are the shortest, the median and the longest.
func gateTimes(ns []int64) string {
	if len(ns) == 0 {
		return ""
	}
	s := slices.Sorted(slices.Values(ns))
	text := func(v int64) string { return time.Duration(v).Round(time.Second).String() }
	if len(s) == 1 {
		return text(s[0])
	}
	return fmt.Sprintf("%s, %s to %s", text(s[len(s)/2]), text(s[0]), text(s[len(s)-1]))
}
