//go:build benchfault

package fault

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// faults is what is to be worse. Only the counts change.
type faults struct {
	cpu        time.Duration
	turns      uint64 // of spin, for cpu
	alloc      int
	latency    time.Duration
	write      share
	wrong      every
	drop       every
	crashAfter time.Duration
	crashAt    every // ends the process, so it is due once
	mute       string
	leak       int
}

// every is due each time it was asked so often.
type every struct {
	nth   uint64 // 0: never
	asked atomic.Uint64
}

func (e *every) due() bool { return e.nth > 0 && e.asked.Add(1)%e.nth == 0 }

// share is due so often of a hundred times, spread evenly.
type share struct {
	percent uint64
	asked   atomic.Uint64
}

func (s *share) due() bool {
	if s.percent == 0 {
		return false
	}
	n := s.asked.Add(1)
	return n*s.percent/100 != (n-1)*s.percent/100
}

// parse reads NAME=VALUE,NAME=VALUE. Nothing at all is nil.
func parse(text string) (*faults, error) {
	if text == "" {
		return nil, nil
	}
	f := new(faults)
	given := map[string]bool{}
	var wrong []error
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		err := f.set(name, value)
		if given[name] {
			err = errors.New("it was said before")
		}
		given[name] = true
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %q: %w", variable, part, err))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *faults) set(name, value string) (err error) {
	switch name {
	case "cpu":
		f.cpu, err = duration(value, time.Nanosecond, time.Second)
	case "alloc":
		var n uint64
		n, err = whole(value, 1_000_000)
		f.alloc = int(n)
	case "latency":
		f.latency, err = duration(value, time.Microsecond, time.Second)
	case "write":
		number, ok := strings.CutSuffix(value, "%")
		if !ok {
			return errors.New("want a share such as 10%")
		}
		f.write.percent, err = whole(number, 100)
	case "wrong":
		f.wrong.nth, err = whole(value, math.MaxInt64)
	case "drop":
		f.drop.nth, err = whole(value, math.MaxInt64)
	case "crash":
		err = f.setCrash(value)
	case "mute":
		if f.mute = value; value == "" || metricOf(value+" ") != value {
			err = errors.New("want the name of a metric, without labels")
		}
	case "leak":
		f.leak, err = size(value)
	default:
		err = errors.New("want one of cpu, alloc, latency, write, wrong, drop, crash, mute, leak")
	}
	return err
}

func (f *faults) setCrash(value string) (err error) {
	if number, ok := strings.CutSuffix(value, "req"); ok {
		f.crashAt.nth, err = whole(number, math.MaxInt64)
		return err
	}
	f.crashAfter, err = duration(value, time.Millisecond, time.Hour)
	return err
}

func duration(value string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("want a duration of %v to %v", least, most)
	}
	return d, nil
}

func whole(value string, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n == 0 || n > most {
		return 0, fmt.Errorf("want a whole number of 1 to %d", most)
	}
	return n, nil
}

const mostLeaked = 1 << 30

func size(value string) (int, error) {
	for _, unit := range []struct {
		name  string
		bytes uint64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"B", 1}} {
		number, ok := strings.CutSuffix(value, unit.name)
		if !ok {
			continue
		}
		n, err := whole(number, mostLeaked/unit.bytes)
		return int(n * unit.bytes), err
	}
	return 0, errors.New("want a size such as 512B, 1KiB or 1MiB")
}

// metricOf is the name that a line of a page of metrics is about; "" if it is about none.
func metricOf(line string) string {
	for _, comment := range []string{"# HELP ", "# TYPE "} {
		line = strings.TrimPrefix(line, comment)
	}
	end := strings.IndexAny(line, " {")
	if end < 0 || strings.ContainsFunc(line[:end], notInNames) {
		return ""
	}
	return line[:end]
}

func notInNames(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != ':'
}
