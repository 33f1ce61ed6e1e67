package gate

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// conclude is the verdict of all.
func (g *run) conclude() {
	r := g.r
	r.visible()
	bad := r.with(Regressed)
	open := r.with(Inconclusive)
	switch {
	case r.Failure != nil:
		r.Verdict, r.Reason = Failed, r.Failure.Side+": "+r.Failure.Text
		r.Hint = hints[r.Failure.Kind]
	case len(bad) > 0:
		r.Verdict, r.Reason = Regressed, fmt.Sprintf("%d of %d metrics regressed: %s", len(bad), len(r.Metrics), names(bad))
	case r.Partial:
		r.Verdict, r.Reason = Inconclusive, "it was interrupted"
	case len(r.Metrics) == 0:
		r.Verdict, r.Reason = Inconclusive, "nothing was compared"
		r.Hint = "see --metric and --only"
	case len(open) > 0:
		r.Verdict, r.Reason = Inconclusive, fmt.Sprintf("%d of %d metrics are not decided: %s", len(open), len(r.Metrics), reasons(open))
		r.Hint = "give it more time (--budget, --most), or a quieter machine; what it can see today stands beside each metric"
	default:
		r.Verdict, r.Reason = Pass, fmt.Sprintf("none of %d metrics regressed", len(r.Metrics))
	}
}

var hints = map[string]string{
	Died:    "run that binary by hand with the same load, and look at its log",
	Wrong:   "a server that answers wrongly is not measured: let its tests find out why",
	Missing: "a metric that is no longer told cannot be watched: bring it back, or compare without it by --metric",
}

func (r *Report) with(v Verdict) []*Metric {
	return slices.DeleteFunc(slices.Clone(r.Metrics), func(m *Metric) bool { return m.Verdict != v })
}

// manifold is from where on a change is told by its ends: per cent of hardly anything tell
// nobody how much it is.
const manifold = 10

// names are those of some metrics, with what changed.
func names(list []*Metric) string {
	var all []string
	for _, m := range list {
		s := m.FullName()
		switch {
		case m.Verdict != Regressed:
		case m.Change == nil:
			s += " from nothing"
		case *m.Change > manifold && m.Base != nil && m.Head != nil:
			s += fmt.Sprintf(" from %.3g to %.3g %s", *m.Base, *m.Head, m.Unit)
		default:
			s += fmt.Sprintf(" %+.1f %%", 100**m.Change)
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// reasons are the names of metrics that are not decided, by why they are not.
func reasons(list []*Metric) string {
	var all []string
	for i, m := range list {
		if slices.ContainsFunc(list[:i], func(o *Metric) bool { return o.Says == m.Says }) {
			continue
		}
		same := slices.DeleteFunc(slices.Clone(list), func(o *Metric) bool { return o.Says != m.Says })
		all = append(all, names(same)+" ("+m.Says+")")
	}
	return strings.Join(all, "; ")
}

// visible is the smallest change that any measured metric can show.
func (r *Report) visible() {
	for _, m := range r.Metrics {
		if v := m.Visible; m.Stage == Statistics && v != nil && (r.Visible == nil || *v < *r.Visible) {
			r.Visible = v
		}
	}
}

// same is what was made equal for both sides.
func (c *Config) same() []string {
	all := []string{fmt.Sprintf("GOMAXPROCS=%d, and %d for what is counted", c.Procs, countProcs)}
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if v := os.Getenv(name); v != "" {
			all = append(all, name+"="+v)
		}
	}
	return append(all, c.Seats.String())
}
