package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"tracker/pkg/load"
)

// charts draws what the result has figures for, in the order of a reader's questions:
// how long, when, how much, and at whose cost.
func charts(v *view) []*drawing {
	var list []*drawing
	for _, draw := range []func(*view) *drawing{
		percentiles, heat, rates, deliveries, backlog, lagOverTime, cores, lagCurve, completeness,
	} {
		if d := draw(v); d != nil {
			list = append(list, d)
		}
	}
	return list
}

// curve is one line of a plot of percentiles.
type curve struct {
	name  string
	class string // of its colour
	hist  *hist
}

// percentiles draws response and service time over each other: where they part, the
// sender was late or had to wait.
func percentiles(v *view) *drawing {
	var list []curve
	for i, k := range []string{"response", "service"} {
		if h := v.hists[k]; h.total > 0 {
			list = append(list, curve{k, fmt.Sprintf("c%d", i+1), &h})
		}
	}
	if len(list) == 0 {
		return nil
	}
	title := "Latency by percentile"
	d := curves(list, title)
	return d.done("percentiles", title, describe(list))
}

func describe(list []curve) string {
	var parts []string
	for _, c := range list {
		var at []string
		for _, p := range []float64{50, 90, 99, 99.9} {
			if c.hist.firm(p) {
				at = append(at, fmt.Sprintf("%s %s", nines(p), dur(float64(c.hist.at(p)))))
			}
		}
		parts = append(parts, fmt.Sprintf("%s: %s, max %s, of %s values", c.name, strings.Join(at, ", "), dur(float64(c.hist.max())), count(c.hist.total)))
	}
	return strings.Join(parts, ". ") + "."
}

// finest is the least time that is drawn on a logarithmic axis, in nanoseconds: below
// it our histograms have no steps.
const finest = 1000

// depth is where a percentile stands on the level axis: each whole step is one more
// nine.
func depth(p float64) float64 { return -math.Log10(1 - p/100) }

// curves draws histograms over an axis of log 1/(1-p).
func curves(list []curve, title string) *svg {
	s := &svg{height: 340}
	var least, most, p50 = math.Inf(1), 0.0, math.Inf(1)
	var n int64
	for _, c := range list {
		least, most = min(least, float64(c.hist.min())), max(most, float64(c.hist.max()))
		p50, n = min(p50, float64(c.hist.at(50))), max(n, c.hist.total)
	}
	x := scale{lo: 0, hi: max(1.5, math.Log10(float64(n))+0.15), from: leftRoom, to: rightEnd}
	y := upTo(most, s.height-lowRoom, topRoom, 6)
	if most > 20*p50 {
		y = around(max(least, finest), most, s.height-lowRoom, topRoom)
	}
	f := &frame{x: x, y: y, yTicks: y.ticks(8), yName: dur, xName: nineName, xTitle: "percentile; each step to the right is one more nine", yTitle: "time"}
	f.xTicks = []float64{0, depth(50)}
	for i := 1.0; i <= x.hi; i++ {
		f.xTicks = append(f.xTicks, i)
	}
	if firm := math.Log10(float64(n) / tail); firm < x.hi {
		from := x.at(max(firm, 0))
		s.rect("thin", from, y.to, x.to-from, y.from-y.to)
		s.text("note end", x.to-6, y.from-8, "fewer than 10 values beyond")
	}
	s.frame(f)
	s.curveLines(list, x, y)
	return s
}

func nineName(u float64) string {
	return three6(100*(1-math.Pow(10, -u))) + " %"
}

// three6 is a percentile as people write it.
func three6(v float64) string {
	s := fmt.Sprintf("%.7f", v)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

func (s *svg) curveLines(list []curve, x, y scale) {
	var ends []mark
	for i := len(list) - 1; i >= 0; i-- { // the first on top
		c := list[i]
		points := c.hist.points(x, y)
		s.path("line "+c.class, points)
		last := points[len(points)-1]
		ends = append(ends, mark{last.y, c.class, c.name})
		for _, p := range []float64{50, 90, 99, 99.9, 99.99} {
			if c.hist.firm(p) {
				s.dot("dot "+c.class, x.at(depth(p)), y.at(float64(c.hist.at(p))))
			}
		}
	}
	s.marks(x.to, y.to, y.from, ends)
}

// points are the curve of a histogram.
func (h *hist) points(x, y scale) []point {
	list := []point{{x.at(0), y.at(float64(h.min()))}}
	var seen int64
	for _, b := range h.bars {
		seen += b.n
		u := math.Log10(float64(h.total)) + 0.1 // the highest value ends the curve
		if seen < h.total {
			u = -math.Log10(1 - float64(seen)/float64(h.total))
		}
		list = append(list, point{x.at(u), y.at(float64(b.hi))})
	}
	return list
}

// timeFrame is the level axis that all drawings over time share, so that they can be
// read one above the other.
func (v *view) timeScale() scale {
	from, to := v.span()
	if from > 0 && from < 0.5*v.slots[0].long() {
		from = 0
	}
	return scale{lo: from, hi: to, from: leftRoom, to: rightEnd}
}

func timeTicks(x scale) []float64 {
	step := timeStep((x.hi - x.lo) / 10)
	var t []float64
	for i := math.Ceil(x.lo/step - 1e-9); i*step <= x.hi*(1+1e-9) && len(t) < 40; i++ {
		t = append(t, i*step)
	}
	return t
}

// overTime begins a drawing over time, with the bands of warnings behind everything.
func (v *view) overTime(height float64, y scale, ticks int, name func(float64) string, title string) (*svg, scale) {
	s := &svg{height: height}
	x := v.timeScale()
	s.bands(v, x, y)
	defer s.events(v, x, y)
	s.frame(&frame{x: x, y: y, xTicks: timeTicks(x), yTicks: y.ticks(ticks), xName: clock, yName: name, xTitle: "time since the start", yTitle: title})
	return s, x
}

// events draws a line where somebody, or the run, made a note.
func (s *svg) events(v *view, x, y scale) {
	for _, e := range v.Events {
		at := float64(e.TNS) / 1e9
		if at < x.lo || at > x.hi {
			continue
		}
		s.line("event", x.at(at), y.to, x.at(at), y.from)
		s.tip("touch", x.at(at)-3, y.to, 6, y.from-y.to, clock(round(at, 0.001))+": "+e.Text)
	}
}

// behind tells a slot in which less was sent than was due, which needs no warning's
// mark to be seen.
func (s *slot) behind() bool { return s.offered > 0 && float64(s.sent) < 0.98*float64(s.offered)-1 }

// bands shades the time in which a warning holds.
func (s *svg) bands(v *view, x, y scale) {
	free := x.from
	for i := 0; i < len(v.slots); {
		what := v.slots[i].why()
		j := i + 1
		for j < len(v.slots) && v.slots[j].why() == what {
			j++
		}
		if what != "" {
			from, to := x.at(v.slots[i].from), x.at(v.slots[j-1].to)
			s.tip("band", from, y.to, to-from, y.from-y.to, what+", "+clock(round(v.slots[i].from, 0.1))+" to "+clock(round(v.slots[j-1].to, 0.1)))
			free = s.bandName(what, from, to, free)
		}
		i = j
	}
}

// bandName writes what a band is for into it, or beside it where it is too narrow and
// nothing else is written there; free is where that ends.
func (s *svg) bandName(what string, from, to, free float64) float64 {
	long := 7.5 * float64(len([]rune(what)))
	at := from + 4
	if to-from < long+6 {
		at = to + 4
	}
	if at+long > rightEnd {
		at = from - 4 - long
	}
	if at < free {
		return free
	}
	s.text("note", at, topRoom+13, what)
	return at + long + 6
}

func round(v, to float64) float64 { return math.Round(v/to) * to }

// why names what was wrong in a slot.
func (s *slot) why() string {
	marks := s.marks
	if s.behind() && !slices.Contains(marks, "W02") {
		marks = append(slices.Clone(marks), "behind")
	}
	if len(marks) > 4 {
		marks = append(slices.Clone(marks[:4]), "…")
	}
	return strings.Join(marks, " ")
}

// steps draws a figure of every slot as a line with steps; a gap stays where there is
// none.
func (s *svg) steps(class string, v *view, x, y scale, figure func(*slot) (float64, bool)) (last float64) {
	var points []point
	for i := range v.slots {
		t := &v.slots[i]
		n, ok := figure(t)
		if !ok {
			s.path(class, points)
			points = nil
			continue
		}
		last = y.at(n)
		points = append(points, point{x.at(t.from), last}, point{x.at(t.to), last})
	}
	s.path(class, points)
	return last
}

// tips lays an invisible column over each slot that tells its figures when pointed at.
func (s *svg) tips(v *view, x, y scale, tell func(*slot) string) {
	for i := range v.slots {
		t := &v.slots[i]
		from, to := x.at(t.from), x.at(t.to)
		s.tip("touch", from, y.to, to-from, y.from-y.to, t.when()+": "+tell(t))
	}
}

func (s *slot) when() string {
	return fmt.Sprintf("%s to %s", clock(round(s.from, 0.001)), clock(round(s.to, 0.001)))
}

// rates draws what was due beside what was sent.
func rates(v *view) *drawing {
	if len(v.slots) < 2 || !v.any(func(s *slot) bool { return s.sent > 0 || s.offered > 0 }) {
		return nil
	}
	most := 0.0
	for i := range v.slots {
		s := &v.slots[i]
		most = max(most, s.rate(s.sent), s.rate(s.offered))
		if v.together() {
			most = max(most, s.rate(s.received))
		}
	}
	const height = 230
	y := upTo(most, height-lowRoom, topRoom, 5)
	s, x := v.overTime(height, y, 5, per, "rate")
	var ends []mark
	if v.any(func(s *slot) bool { return s.offered > 0 }) {
		end := s.steps("line offered", v, x, y, func(t *slot) (float64, bool) { return t.rate(t.offered), true })
		ends = append(ends, mark{end, "offered", "offered"})
	}
	if v.together() {
		end := s.steps("line c2", v, x, y, func(t *slot) (float64, bool) { return t.rate(t.received), true })
		ends = append(ends, mark{end, "c2", "received"})
	}
	end := s.steps("line c1", v, x, y, func(t *slot) (float64, bool) { return t.rate(t.sent), true })
	ends = append(ends, mark{end, "c1", "sent"})
	s.marks(x.to, y.to, y.from, ends)
	s.tips(v, x, y, func(t *slot) string {
		return fmt.Sprintf("%s offered, %s sent, %s received", per(t.rate(t.offered)), per(t.rate(t.sent)), per(t.rate(t.received)))
	})
	desc := fmt.Sprintf("Sent: %s on average, %s at most in one interval.", per(v.mean((*slot).sentN)), per(v.most(func(s *slot) float64 { return s.rate(s.sent) })))
	if n := v.countSlots((*slot).behind); n > 0 {
		desc += fmt.Sprintf(" In %d of %d intervals less was sent than was due.", n, len(v.slots))
	}
	return s.done("rates", "Offered against achieved rate", desc)
}

func (s *slot) sentN() int64 { return s.sent }

// mean is a count of all slots, a second.
func (v *view) mean(n func(*slot) int64) float64 {
	var sum int64
	for i := range v.slots {
		sum += n(&v.slots[i])
	}
	from, to := v.span()
	return float64(sum) / (to - from)
}

func (v *view) countSlots(holds func(*slot) bool) (n int) {
	for i := range v.slots {
		if holds(&v.slots[i]) {
			n++
		}
	}
	return n
}

// together tells whether what was received is of the same size as what was sent, and
// can be drawn with it.
func (v *view) together() bool {
	sent, got := v.mean((*slot).sentN), v.mean(func(s *slot) int64 { return s.received })
	return got > 0 && got < 2*sent && got > sent/20
}

// deliveries draws what came out, where that is many times what went in.
func deliveries(v *view) *drawing {
	got := v.mean(func(s *slot) int64 { return s.received })
	if len(v.slots) < 2 || got == 0 || v.together() {
		return nil
	}
	most := v.most(func(s *slot) float64 { return s.rate(s.received) })
	d := v.single("received", "c2", per, func(s *slot) float64 { return s.rate(s.received) })
	return d.done("deliveries", "Deliveries over time", fmt.Sprintf("%s on average, %s at most in one interval.", per(got), per(most)))
}

// most is the highest of a figure of the slots.
func (v *view) most(figure func(*slot) float64) (most float64) {
	for i := range v.slots {
		most = max(most, figure(&v.slots[i]))
	}
	return most
}

// single draws one figure over time.
func (v *view) single(name, class string, show func(float64) string, figure func(*slot) float64) *svg {
	const height = 200
	y := upTo(v.most(figure), height-lowRoom, topRoom, 4)
	s, x := v.overTime(height, y, 4, show, name)
	end := s.steps("line "+class, v, x, y, func(t *slot) (float64, bool) { return figure(t), true })
	s.marks(x.to, y.to, y.from, []mark{{end, class, name}})
	s.tips(v, x, y, func(t *slot) string { return show(figure(t)) + " " + name })
	return s
}

// backlog draws what was due or under way and not finished, where there was much of
// it: a line that climbs says that the rate was above what could be done.
func backlog(v *view) *drawing {
	figure := func(s *slot) float64 { return float64(s.backlog) }
	most := v.most(figure)
	if len(v.slots) < 2 || most < 10 || most < 0.01*v.most(func(s *slot) float64 { return float64(s.sent) }) {
		return nil // a few are always under way
	}
	last := figure(&v.slots[len(v.slots)-1])
	return v.single("backlog", "c3", si, figure).done("backlog", "Backlog over time",
		fmt.Sprintf("Due or sent and not finished at the end of an interval: %s at most, %s at the end.", si(most), si(last)))
}

// lagOverTime draws how late sends were.
func lagOverTime(v *view) *drawing {
	if len(v.slots) < 2 || !v.any(func(s *slot) bool { return s.hasLag }) {
		return nil
	}
	most, worst := 0.0, 0.0
	for i := range v.slots {
		most, worst = max(most, float64(v.slots[i].lagMax), float64(v.slots[i].lagP99)), max(worst, float64(v.slots[i].lagP99))
	}
	const height = 200
	y := upTo(most, height-lowRoom, topRoom, 4)
	if least := v.leastLag(); most > 20*least {
		y = around(max(finest, least), max(most, 10*finest), height-lowRoom, topRoom)
	}
	s, x := v.overTime(height, y, 4, dur, "send lag")
	var ends []mark
	if v.any(func(s *slot) bool { return s.hasLagP99 }) {
		end := s.steps("line c1", v, x, y, func(t *slot) (float64, bool) { return float64(t.lagP99), t.hasLagP99 })
		ends = append(ends, mark{end, "c1", "p99"})
	}
	if v.any(func(s *slot) bool { return s.lagMax > 0 }) {
		end := s.steps("line c3", v, x, y, func(t *slot) (float64, bool) { return float64(t.lagMax), t.hasLag })
		ends = append(ends, mark{end, "c3", "max"})
	}
	s.marks(x.to, y.to, y.from, ends)
	s.tips(v, x, y, func(t *slot) string {
		return fmt.Sprintf("p99 %s, max %s late", orDash(dur(float64(t.lagP99)), t.hasLagP99), dur(float64(t.lagMax)))
	})
	desc := "How late sends went out against the plan. "
	if worst > 0 {
		desc += fmt.Sprintf("Highest p99 of an interval %s, highest value %s.", dur(worst), dur(most))
	} else {
		desc += fmt.Sprintf("Highest value %s; the intervals have too few sends for a p99.", dur(most))
	}
	return s.done("send-lag", "Send lag over time", desc)
}

// leastLag is the lowest p99 of an interval, or the lowest maximum where there is none.
func (v *view) leastLag() float64 {
	least := math.Inf(1)
	for i := range v.slots {
		if s := &v.slots[i]; s.hasLagP99 {
			least = min(least, float64(s.lagP99))
		} else if s.hasLag {
			least = min(least, float64(s.lagMax))
		}
	}
	return least
}

// lagCurve draws the send lag of the whole run, for results without its course.
func lagCurve(v *view) *drawing {
	h := v.hists["send_lag"]
	if h.total == 0 {
		return nil
	}
	list := []curve{{"send lag", "c3", &h}}
	const title = "Send lag by percentile"
	return curves(list, title).done("send-lag-percentiles", title, "How late sends went out against the plan. "+describe(list))
}

// cores draws the CPU time of both sides.
func cores(v *view) *drawing {
	client := v.any(func(s *slot) bool { return s.hasClient })
	server := v.any(func(s *slot) bool { return s.hasServe })
	if len(v.slots) < 2 || !client && !server {
		return nil
	}
	most := v.most(func(s *slot) float64 { return max(s.clientCPU, s.serverCPU) })
	all := float64(v.Env.Cores)
	const height = 200
	y := upTo(max(most, min(all, 2*most)), height-lowRoom, topRoom, 4)
	s, x := v.overTime(height, y, 4, three, "cores used")
	if all > 0 && all <= y.hi {
		s.line("limit", x.from, y.at(all), x.to, y.at(all))
		s.text("note", x.from+6, y.at(all)-5, fmt.Sprintf("all %d cores", v.Env.Cores))
	}
	var ends []mark
	if client {
		end := s.steps("line c3", v, x, y, func(t *slot) (float64, bool) { return t.clientCPU, t.hasClient })
		ends = append(ends, mark{end, "c3", "client"})
	}
	if server {
		end := s.steps("line c1", v, x, y, func(t *slot) (float64, bool) { return t.serverCPU, t.hasServe })
		ends = append(ends, mark{end, "c1", "server"})
	}
	s.marks(x.to, y.to, y.from, ends)
	s.tips(v, x, y, func(t *slot) string {
		return fmt.Sprintf("client %s, server %s cores", orDash(three(t.clientCPU), t.hasClient), orDash(three(t.serverCPU), t.hasServe))
	})
	return s.done("cpu", "CPU of both sides", "Cores used over time. "+usage(v.Result))
}

func orDash(s string, known bool) string {
	if known {
		return s
	}
	return "–"
}

// usage is what the run cost either side, on average.
func usage(r *load.Result) string {
	took := float64(r.DurationNS) / 1e9
	if took <= 0 {
		return ""
	}
	text := fmt.Sprintf("Client %s cores on average", three(r.Resources.Client.CPUSeconds/took))
	if s := r.Resources.Server; s != nil {
		text += fmt.Sprintf(", server %s", three(s.CPUSeconds/took))
	}
	return text + "."
}

// completeness draws a cell for each receiver: whole, or red and the redder the more
// is missing.
func completeness(v *view) *drawing {
	all := v.Completeness
	if len(all) == 0 {
		return nil
	}
	const most = 4000
	group := (len(all) + most - 1) / most
	cells := (len(all) + group - 1) / group
	columns := min(cells, 100)
	if cells <= 200 {
		columns = min(cells, 50)
	}
	side := min(24, (rightEnd-leftRoom)/float64(columns))
	rows := (cells + columns - 1) / columns
	s := &svg{height: topRoom + float64(rows)*side + 14}
	for i := range cells {
		x, y := leftRoom+float64(i%columns)*side, topRoom+float64(i/columns)*side
		some := all[i*group : min(len(all), (i+1)*group)]
		worst := slices.Min(some)
		if i%columns == 0 && i/columns%max(1, int(math.Ceil(15/side))) == 0 {
			s.text("tick end", leftRoom-8, y+side/2+4, count(int64(i*group)))
		}
		if worst >= 1 {
			s.rect("whole", x, y, side-1, side-1)
			continue
		}
		s.tip("missing "+level(worst), x, y, side-1, side-1, cellName(i*group, len(some))+": "+share(worst)+" received")
	}
	s.text("name", leftRoom, topRoom-7, "receiver")
	return s.done("completeness", "Completeness by receiver", completenessText(all))
}

func cellName(first, n int) string {
	if n == 1 {
		return fmt.Sprintf("receiver %d", first)
	}
	return fmt.Sprintf("receivers %d to %d, the worst", first, first+n-1)
}

// level is how much is missing, in three steps that can be told apart.
func level(got float64) string {
	switch {
	case got >= 0.99:
		return "m1"
	case got >= 0.9:
		return "m2"
	}
	return "m3"
}

func completenessText(all []float64) string {
	missing, worst := 0, 1.0
	for _, v := range all {
		if v < 1 {
			missing++
		}
		worst = min(worst, v)
	}
	if missing == 0 {
		return fmt.Sprintf("All %s receivers got everything.", count(int64(len(all))))
	}
	return fmt.Sprintf("%s of %s receivers miss something; the worst got %s.", count(int64(missing)), count(int64(len(all))), share(worst))
}
