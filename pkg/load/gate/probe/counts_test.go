package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"

	"tracker/pkg/load"
	"tracker/pkg/load/churn"
	"tracker/pkg/load/rpcload"
)

// talker is a server that tells figures. Each reading of them costs it some.
type talker struct {
	told, cost churn.Reading
	readings   int
	odd        func(n int, r churn.Reading) // what else happens before the n-th reading
	err        error
}

func (t *talker) scrape(context.Context) (churn.Reading, error) {
	if t.err != nil {
		return nil, t.err
	}
	t.readings++
	if t.odd != nil {
		t.odd(t.readings, t.told)
	}
	now := maps.Clone(t.told)
	for name, n := range t.cost {
		t.told[name] += n
	}
	return now, nil
}

// ourselves are a process that tells no more than any other.
func ourselves() *rpcload.Own {
	return &rpcload.Own{Child: &load.Child{Process: load.Process{PID: os.Getpid()}}}
}

func TestReadingIsTakenOff(t *testing.T) {
	server := &talker{told: churn.Reading{"work": 1000, "quiet": 5}, cost: churn.Reading{"work": 7}}
	server.odd = func(n int, r churn.Reading) {
		if n == 3 { // a tick of its own, while it is found out what a reading costs
			r["work"] += 40
		}
	}
	c := &counter{server: ourselves(), scrape: server.scrape}
	if err := c.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.told["work"] += 300
	done, err := c.end(t.Context())
	if err != nil || done["work"] != 300 || done["quiet"] != 0 {
		t.Errorf("got %v of work, %v of what stood still, %v; want 300 and 0", done["work"], done["quiet"], err)
	}
}

func TestWhatIsNotToldIsAbsent(t *testing.T) {
	costs := map[string]float64{}
	c := counts{"told": 50}
	c.share(costs, "a", "told", 100)
	c.share(costs, "b", "untold", 100)
	if len(costs) != 1 || costs["a"] != 0.5 {
		t.Errorf("got %v", costs)
	}
	if d := c.since(counts{"other": 1}); len(d) != 0 {
		t.Errorf("nothing was told twice, and the difference is %v", d)
	}
}

func TestNothingIsDoneLessThanNever(t *testing.T) {
	server := &talker{told: churn.Reading{"work": 0}, cost: churn.Reading{"work": 10}}
	c := &counter{server: ourselves(), scrape: server.scrape}
	if err := c.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.told["work"] -= 3 // the last reading was cheaper
	if done, err := c.end(t.Context()); err != nil || done["work"] != 0 {
		t.Errorf("got %v, %v", done["work"], err)
	}
}

func TestAServerThatShowsNothingIsWrong(t *testing.T) {
	c := &counter{server: ourselves(), scrape: (&talker{err: errors.New("status 404")}).scrape}
	if err := c.begin(t.Context()); !errors.Is(err, ErrWrong) || errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

// dead is a server that takes a few looks to die.
type dead struct{ looks int }

func (d *dead) Alive() bool { d.looks--; return d.looks > 0 }

func TestWhatIsSaidOfAFailure(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	wrong := fmt.Errorf("%w: two is three", ErrWrong)
	for name, row := range map[string]struct {
		ctx    context.Context
		server alive
		err    error
		want   error
	}{
		"nothing":     {t.Context(), &dead{}, nil, nil},
		"stopped":     {ended, &dead{}, wrong, context.Canceled},
		"dead":        {t.Context(), &dead{}, wrong, ErrGone},
		"about to be": {t.Context(), &dead{looks: 5}, wrong, ErrGone},
		"alive":       {t.Context(), &load.Process{PID: os.Getpid()}, wrong, ErrWrong},
	} {
		got := gone(row.ctx, row.server, row.err)
		if row.want == nil && got != nil || !errors.Is(got, row.want) {
			t.Errorf("%s: got %v, want %v", name, got, row.want)
		}
		for _, other := range []error{ErrWrong, ErrGone, context.Canceled} {
			if other != row.want && errors.Is(got, other) {
				t.Errorf("%s: %v is also %v", name, got, other)
			}
		}
	}
}
