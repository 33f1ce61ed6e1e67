package broadcast

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tracker/pkg/load"
	"tracker/pkg/load/peers"
	"tracker/pkg/load/peers/codec"
)

// SchemaCodecs names the form of Checks.
const SchemaCodecs = "trackbench.codecs/1"

// Checks are our side of each protocol beside the peer's own tool, on the same server,
// with the same work: were ours much slower, it would be what is measured.
type Checks struct {
	Schema string   `json:"schema"`
	Seats  string   `json:"seats"`
	Rows   []*Check `json:"rows"`
	Env    load.Env `json:"env"`
}

// Check is one work.
type Check struct {
	Protocol string    `json:"protocol"`
	Work     string    `json:"work"`
	Tool     string    `json:"tool"`
	Ours     []float64 `json:"ours_per_s"` // messages published, or delivered, a second
	Theirs   []float64 `json:"theirs_per_s"`
	Ratio    *Ratio    `json:"ours_to_theirs"`
	Held     *bool     `json:"held"`    // at least 80 %; absent where only counts are compared, or nothing was
	Counted  string    `json:"counted"` // what one side counted of what the other sent
	Skipped  string    `json:"skipped,omitempty"`
}

// slowest is how slow ours may be beside the native tool.
const slowest = 0.8

// Failed are the works in which ours was too slow, or that did not count right.
func (c *Checks) Failed() (list []*Check) {
	for _, r := range c.Rows {
		if r.Held != nil && !*r.Held {
			list = append(list, r)
		}
	}
	return list
}

// CheckConfig says how to check.
type CheckConfig struct {
	Seats    load.Seats
	Rounds   int // 0: 3
	Messages int // of one run; 0: 500,000
	Progress func(format string, args ...any)
}

// checkDepth is how many commands redis-benchmark and we have under way.
const checkDepth = 100

// CheckCodecs checks all protocols whose servers and tools there are. A tool that counts
// something else than was sent is an error that wraps ErrFailed.
func CheckCodecs(ctx context.Context, cfg CheckConfig) (*Checks, error) {
	if cfg.Rounds <= 0 {
		cfg.Rounds = 3
	}
	if cfg.Messages <= 0 {
		cfg.Messages = 500_000
	}
	c := &Checks{Schema: SchemaCodecs, Seats: cfg.Seats.String()}
	before := load.ReadVitals()
	for _, part := range []func(context.Context, *CheckConfig, *Checks) error{checkRedis, checkNATS, checkMQTT} {
		if err := part(ctx, &cfg, c); err != nil {
			return nil, err
		}
	}
	c.Env = load.Describe(before, load.ReadVitals())
	return c, nil
}

// compare measures ours and theirs in turn, each first in every second round.
func (c *Checks) compare(cfg *CheckConfig, row *Check, ours, theirs func() (float64, error)) error {
	c.Rows = append(c.Rows, row)
	var ratios []float64
	for n := range cfg.Rounds {
		if cfg.Progress != nil {
			cfg.Progress("%s, %s: round %d of %d", row.Protocol, row.Work, n+1, cfg.Rounds)
		}
		first, second := ours, theirs
		if n%2 == 1 {
			first, second = theirs, ours
		}
		a, err := first()
		if err != nil {
			return err
		}
		b, err := second()
		if err != nil {
			return err
		}
		if n%2 == 1 {
			a, b = b, a
		}
		row.Ours, row.Theirs, ratios = append(row.Ours, a), append(row.Theirs, b), append(ratios, a/b)
	}
	row.Ratio = newRatio(ratios)
	return nil
}

func (r *Check) hold() {
	held := r.Ratio.Mean >= slowest
	r.Held = &held
}

// skip notes why a protocol was not checked, if that is all that is wrong.
func (c *Checks) skip(protocol string, err error) error {
	if !errors.Is(err, ErrAbsent) {
		return err
	}
	c.Rows = append(c.Rows, &Check{Protocol: protocol, Skipped: err.Error()})
	return nil
}

// audience is viewers that count what they are sent.
type audience struct {
	lines []*Line
	books []tally
	wg    sync.WaitGroup
	total chan int64 // what each got, when it has all
}

// tally counts messages.
type tally int64

// Message counts one.
func (t *tally) Message([]byte) error {
	*t++
	return nil
}

// gather connects viewers that will be sent n messages each.
func gather(ctx context.Context, t Target, viewers, n int) (*audience, error) {
	a := &audience{books: make([]tally, viewers), total: make(chan int64, viewers)}
	for i := range viewers {
		nc, err := t.Dial(ctx)
		if err != nil {
			a.leave()
			return nil, err
		}
		l := newLine(nc, 1, i)
		a.lines = append(a.lines, l)
		if err := t.View(ctx, l); err != nil {
			a.leave()
			return nil, err
		}
	}
	for i, l := range a.lines {
		a.wg.Go(func() {
			for int(a.books[i]) < n && l.fill() == nil && l.take(&a.books[i]) == nil {
			}
			a.total <- int64(a.books[i])
		})
	}
	return a, nil
}

// await waits until all have all, or the time is over.
func (a *audience) await(ctx context.Context) (sum int64, err error) {
	defer a.leave()
	for range a.lines {
		select {
		case n := <-a.total:
			sum += n
		case <-ctx.Done():
			return sum, ctx.Err()
		}
	}
	return sum, nil
}

func (a *audience) leave() {
	for _, l := range a.lines {
		_ = l.Conn.Close()
	}
	a.wg.Wait()
}

// speaker opens a connection that publishes.
func speaker(ctx context.Context, t Target) (*Line, Mouth, error) {
	nc, err := t.Dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	l := newLine(nc, 1, -1)
	m, err := t.Publish(ctx, l, 1)
	if err != nil {
		_ = nc.Close()
	}
	return l, m, err
}

const longestCheck = time.Minute

// published has our publisher send n messages to viewers of ours, and tells how many were
// delivered a second, or, without viewers, published. say writes, and waits as far as the
// protocol has answers.
func published(ctx context.Context, t Target, viewers, n int, say func(l *Line, m Mouth, n int) error) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, longestCheck)
	defer cancel()
	a, err := gather(ctx, t, viewers, n)
	if err != nil {
		return 0, err
	}
	defer a.leave()
	l, m, err := speaker(ctx, t)
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Conn.Close() }()
	defer l.until(ctx)()
	began := time.Now()
	if err := say(l, m, n); err != nil {
		return 0, err
	}
	if viewers == 0 {
		return float64(n) / time.Since(began).Seconds(), nil
	}
	sum, err := a.await(ctx)
	if err == nil && sum != int64(n)*int64(viewers) {
		err = fmt.Errorf("%w: %d of %d messages came to %d viewers", ErrFailed, sum, int64(n)*int64(viewers), viewers)
	}
	return float64(sum) / time.Since(began).Seconds(), err
}

// inDepth writes so many messages at a time and waits for the answers to all of them, as
// redis-benchmark does.
func inDepth(l *Line, m Mouth, n int) error {
	var out []byte
	ear := l.Ear.(*codec.RESP)
	for sent := 0; sent < n; {
		out = m.Append(out[:0], uint64(sent), checkDepth, time.Time{})
		if _, err := l.Conn.Write(out); err != nil {
			return err
		}
		for sent += checkDepth; ear.Replies < int64(sent); {
			if err := l.fill(); err != nil {
				return err
			}
			if err := l.take(nobody{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// filled writes as much at a time as fills a buffer.
func filled(l *Line, m Mouth, n int) error {
	const each = 1000 // some 30 KB
	var out []byte
	for sent := 0; sent < n; sent += each {
		out = m.Append(out[:0], uint64(sent), min(each, n-sent), time.Time{})
		if _, err := l.Conn.Write(out); err != nil {
			return err
		}
	}
	if ear, ok := l.Ear.(*codec.NATS); ok { // until the server has all of it
		had := ear.Pongs
		return l.Greet(context.Background(), codec.AppendNATSPing(nil), func() bool { return ear.Pongs > had })
	}
	return nil
}

func checkRedis(ctx context.Context, cfg *CheckConfig, c *Checks) error {
	r, err := StartRedis(ctx, cfg.Seats)
	if err != nil {
		return c.skip("redis", err)
	}
	defer func() { _ = r.Close() }()
	tool, err := exec.LookPath("redis-benchmark")
	if err != nil {
		return c.skip("redis", absent("redis-benchmark", "Debian has it in redis-tools"))
	}
	_, port, _ := net.SplitHostPort(r.addr)
	for _, viewers := range []int{0, 10} {
		n := cfg.Messages / (1 + viewers) / checkDepth * checkDepth
		row := &Check{Protocol: "redis", Work: fmt.Sprintf("PUBLISH, depth %d, %d viewers", checkDepth, viewers), Tool: "redis-benchmark -P"}
		err := c.compare(cfg, row, func() (float64, error) {
			v, err := published(ctx, r, viewers, n, inDepth)
			return v / float64(max(1, viewers)), err
		}, func() (float64, error) {
			a, err := gather(ctx, r, viewers, n)
			if err != nil {
				return 0, err
			}
			defer a.leave()
			cmd := cfg.Seats.Command(ctx, cfg.Seats.Client, tool, "-h", "127.0.0.1", "-p", port, "-c", "1", "-P", strconv.Itoa(checkDepth),
				"-n", strconv.Itoa(n), "--csv", "PUBLISH", channel, strings.Repeat("x", Payload))
			out, err := cmd.Output()
			if err != nil {
				return 0, fmt.Errorf("redis-benchmark: %w", err)
			}
			return lastRate(out)
		})
		if err != nil {
			return err
		}
		row.hold()
	}
	return nil
}

// lastRate reads the requests a second from the CSV of redis-benchmark.
func lastRate(out []byte) (float64, error) {
	in := csv.NewReader(bytes.NewReader(out))
	in.FieldsPerRecord = -1
	rows, err := in.ReadAll()
	if err == nil && len(rows) > 0 && len(rows[len(rows)-1]) > 1 {
		if rate, err := strconv.ParseFloat(rows[len(rows)-1][1], 64); err == nil && rate > 0 {
			return rate, nil
		}
	}
	return 0, fmt.Errorf("redis-benchmark said %q", out)
}

func checkNATS(ctx context.Context, cfg *CheckConfig, c *Checks) error {
	s, err := StartNATS(ctx, cfg.Seats)
	if err != nil {
		return c.skip("nats", err)
	}
	defer func() { _ = s.Close() }()
	tool, err := findBuilt(natsBench, "nats-bench")
	if err != nil {
		return c.skip("nats", err)
	}
	for _, viewers := range []int{0, 10} {
		n := cfg.Messages / (1 + viewers)
		if viewers == 0 {
			n *= 4
		}
		row := &Check{Protocol: "nats", Work: fmt.Sprintf("PUB, %d viewers", viewers), Tool: "nats-bench of nats.go"}
		err := c.compare(cfg, row, func() (float64, error) { return published(ctx, s, viewers, n, filled) }, func() (float64, error) {
			ctx, cancel := context.WithTimeout(ctx, longestCheck)
			defer cancel()
			cmd := cfg.Seats.Command(ctx, cfg.Seats.Client, tool, "-s", "nats://"+s.addr, "-np", "1", "-ns", strconv.Itoa(viewers),
				"-n", strconv.Itoa(n), "-ms", strconv.Itoa(Payload), channel)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return 0, fmt.Errorf("nats-bench: %w: %.200s", err, out)
			}
			return natsRate(out, viewers > 0)
		})
		if err != nil {
			return err
		}
		row.hold()
	}
	return nil
}

var natsRates = regexp.MustCompile(`(?m)^\s*(Pub|Sub) stats: ([0-9,]+) msgs/sec`)

// natsRate reads what nats-bench says of publishers or of all subscribers.
func natsRate(out []byte, subscribers bool) (float64, error) {
	want := map[bool]string{true: "Sub", false: "Pub"}[subscribers]
	for _, m := range natsRates.FindAllSubmatch(out, -1) {
		if string(m[1]) != want {
			continue
		}
		if v, err := strconv.ParseFloat(strings.ReplaceAll(string(m[2]), ",", ""), 64); err == nil && v > 0 {
			return v, nil
		}
	}
	return 0, fmt.Errorf("nats-bench said %.300q", out)
}

// checkMQTT counts only: mosquitto has no tool that measures. Its own publisher reads
// lines and its subscriber prints them, which is slower than any of ours.
func checkMQTT(ctx context.Context, cfg *CheckConfig, c *Checks) error {
	n := min(cfg.Messages/25, 20_000)
	for qos := range byte(2) {
		m, err := StartMosquitto(ctx, cfg.Seats, qos)
		if err != nil {
			return c.skip("mqtt", err)
		}
		err = countMQTT(ctx, cfg, c, m, n)
		if err := errors.Join(err, m.Close()); err != nil {
			return c.skip("mqtt", err)
		}
	}
	return nil
}

func countMQTT(ctx context.Context, cfg *CheckConfig, c *Checks, m *Mosquitto, n int) error {
	for _, program := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(program); err != nil {
			return absent(program, "Debian has it in mosquitto-clients")
		}
	}
	row := &Check{Protocol: "mqtt", Work: fmt.Sprintf("quality %d, published by ours and by mosquitto_pub, counted by the other side", m.qos), Tool: "mosquitto_pub, mosquitto_sub"}
	err := c.compare(cfg, row, func() (float64, error) { return oursToTool(ctx, m, n) }, func() (float64, error) { return toolToOurs(ctx, m, n) })
	if err == nil {
		row.Counted = fmt.Sprintf("%d of %d either way", n, n)
	}
	return err
}

// signal is a topic with a message that stays. Who is sent it is subscribed by then:
// mosquitto_sub says so itself only in the end, when its output is no terminal.
const signal = "ready"

func hoist(ctx context.Context, m *Mosquitto) error {
	l, _, err := speaker(ctx, m)
	if err != nil {
		return err
	}
	defer func() { _ = l.Conn.Close() }()
	const retain = 1
	out := codec.AppendMQTTPublish(nil, signal, 0, 0, []byte(signal))
	out[0] |= retain
	ear := l.Ear.(*codec.MQTT)
	return l.Greet(ctx, codec.AppendMQTTPing(out), func() bool { return ear.Pongs > 0 })
}

// oursToTool publishes by us, and lets mosquitto_sub count.
func oursToTool(ctx context.Context, m *Mosquitto, n int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, longestCheck)
	defer cancel()
	if err := hoist(ctx, m); err != nil {
		return 0, err
	}
	_, port, _ := net.SplitHostPort(m.addr)
	cmd := exec.CommandContext(ctx, "mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-q", strconv.Itoa(int(m.qos)),
		"-t", channel, "-t", signal, "-C", strconv.Itoa(n+1), "-F", "got %l")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(out)
	lines.Scan() // the signal
	began := time.Now()
	publish := func() error {
		l, mouth, err := speaker(ctx, m)
		if err != nil {
			return err
		}
		defer func() { _ = l.Conn.Close() }()
		defer l.until(ctx)()
		if err := filled(l, mouth, n); err != nil || m.qos == 0 {
			return err
		}
		return l.Await(ctx, nobody{}, func() bool { return l.confirmed.Load() >= int64(n) })
	}
	err = publish()
	if err != nil {
		_ = cmd.Process.Kill()
	}
	got := 0
	for lines.Scan() {
		if lines.Text() == fmt.Sprintf("got %d", Payload) {
			got++
		}
	}
	took := time.Since(began)
	if err := errors.Join(err, lines.Err(), cmd.Wait()); err != nil {
		return 0, fmt.Errorf("mosquitto_sub, after %d of %d: %w", got, n, err)
	}
	if got != n {
		return 0, fmt.Errorf("%w: mosquitto_sub counted %d of %d", ErrFailed, got, n)
	}
	return float64(n) / took.Seconds(), nil
}

// toolToOurs publishes by mosquitto_pub, and counts.
func toolToOurs(ctx context.Context, m *Mosquitto, n int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, longestCheck)
	defer cancel()
	a, err := gather(ctx, m, 1, n)
	if err != nil {
		return 0, err
	}
	defer a.leave()
	_, port, _ := net.SplitHostPort(m.addr)
	cmd := exec.CommandContext(ctx, "mosquitto_pub", "-h", "127.0.0.1", "-p", port, "-q", strconv.Itoa(int(m.qos)), "-t", channel, "-l")
	cmd.Stdin = io.LimitReader(&lineSource{line: []byte(strings.Repeat("x", Payload) + "\n")}, int64(n*(Payload+1)))
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("mosquitto_pub: %w: %.200s", err, out)
	}
	sum, err := a.await(ctx)
	if err != nil || sum != int64(n) {
		return 0, fmt.Errorf("%w: of %d that mosquitto_pub sent, %d came: %w", ErrFailed, n, sum, err)
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// lineSource says the same line over and over.
type lineSource struct {
	line []byte
	at   int
}

func (s *lineSource) Read(p []byte) (n int, _ error) {
	for n < len(p) {
		c := copy(p[n:], s.line[s.at:])
		n, s.at = n+c, (s.at+c)%len(s.line)
	}
	return n, nil
}

// Print tells the checks to people.
func (c *Checks) Print(w io.Writer) error {
	fmt.Fprintf(w, "our side of the protocols beside the peers' own tools; %s\n", c.Seats)
	for _, r := range c.Rows {
		switch {
		case r.Skipped != "":
			fmt.Fprintf(w, "%-6s  skipped: %s\n", r.Protocol, r.Skipped)
			continue
		case r.Held == nil:
			fmt.Fprintf(w, "%-6s  %s: %s\n", r.Protocol, r.Work, r.Counted)
			continue
		}
		verdict := map[bool]string{true: "held", false: "TOO SLOW"}[*r.Held]
		fmt.Fprintf(w, "%-6s  %-32s  ours %s, %s %s: %.2fx%s, at least %.1fx: %s\n", r.Protocol, r.Work,
			rateText(r.Ours), r.Tool, rateText(r.Theirs), r.Ratio.Mean, interval(r.Ratio), slowest, verdict)
	}
	_, err := fmt.Fprintf(w, "%d too slow\n", len(c.Failed()))
	return err
}

func rateText(rates []float64) string {
	if len(rates) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f M/s", *peers.Median(slices.Clone(rates))/1e6)
}

func interval(r *Ratio) string {
	if r.Low == nil {
		return ""
	}
	return fmt.Sprintf(" (%.2f - %.2f, n=%d)", *r.Low, *r.High, r.N)
}
