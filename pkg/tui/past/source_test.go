package past

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/server"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tuitest"
)

// shelf is a server's history as a function: each walk of it takes a second.
type shelf struct {
	mu   sync.Mutex
	open int
	most int
	fail func(client.HistoryQuery) error
}

func (s *shelf) history(ctx context.Context, q client.HistoryQuery) iter.Seq2[client.Fix, error] {
	return func(yield func(client.Fix, error) bool) {
		s.walk(1)
		defer s.walk(-1)
		id, err := track.ParseDeviceID(q.Device)
		if err == nil && s.fail != nil {
			err = s.fail(q)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			yield(client.Fix{}, err)
			return
		}
		for i := range batch + 10 {
			if !yield(tuitest.Fix(id, "", q.From.Add(time.Duration(i)), 1, 1), nil) {
				return
			}
		}
	}
}

func (s *shelf) walk(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open += n
	s.most = max(s.most, s.open)
}

func ids(n int) (out []track.DeviceID) {
	for i := range n {
		out = append(out, track.DeviceID(i+1))
	}
	return out
}

func TestAServerIsAskedForSomeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{fail: func(q client.HistoryQuery) error {
			if q.Device == track.DeviceID(5).String() {
				return track.ErrNotFound
			}
			if !q.Heartbeats || !q.From.Equal(epoch) || !q.To.Equal(epoch.Add(time.Hour)) {
				t.Errorf("asked %+v", q)
			}
			return nil
		}}
		got := map[track.DeviceID]int{}
		began := time.Now()
		err := fromConn{s.history, 16}.Window(t.Context(), ids(64), epoch, epoch.Add(time.Hour), func(fixes []client.Fix) error {
			for _, f := range fixes {
				if want := epoch.Add(time.Duration(got[f.Device])); !f.Time.Equal(want) {
					t.Errorf("device %v: %v is out of order", f.Device, f.Time)
				}
				got[f.Device]++
			}
			return nil
		})
		want := map[track.DeviceID]int{}
		for _, id := range ids(64) {
			want[id] = batch + 10
		}
		delete(want, 5) // nobody knows it any more
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v, %d devices", err, len(got))
		}
		if s.most != 16 || time.Since(began) != 4*time.Second {
			t.Errorf("%d at a time, %v in all", s.most, time.Since(began))
		}
	})
}

func TestAWindowEndsWithItsFirstError(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		fail  error
		yield error
		stop  bool
		want  error
	}{
		"history": {fail: broken, want: broken},
		"yield":   {yield: broken, want: broken},
		"stopped": {stop: true, want: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{fail: func(q client.HistoryQuery) error {
					if q.Device == track.DeviceID(3).String() {
						return tc.fail
					}
					return nil
				}}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.stop {
					time.AfterFunc(1500*time.Millisecond, cancel)
				}
				calls := 0
				err := fromConn{s.history, 4}.Window(ctx, ids(100), epoch, epoch.Add(time.Hour), func([]client.Fix) error {
					calls++
					return tc.yield
				})
				if !errors.Is(err, tc.want) || s.open != 0 {
					t.Errorf("got %v, %d walks are open", err, s.open)
				}
				if tc.yield != nil && calls != 1 {
					t.Errorf("yield was called %d times after it had failed", calls-1)
				}
			})
		})
	}
}

func TestAPanicOfAWalkReachesWhoAsked(t *testing.T) {
	s := &shelf{fail: func(client.HistoryQuery) error { panic("boom") }}
	defer func() {
		if v := fmt.Sprint(recover()); !strings.HasPrefix(v, "boom") {
			t.Errorf("got %.100v", v)
		}
	}()
	_ = fromConn{s.history, 4}.Window(t.Context(), ids(10), epoch, epoch, func([]client.Fix) error { return nil })
	t.Error("nothing fell")
}

// TestAServersHistoryIsTheSameOnTheMap replays what a real server has kept and holds
// it against its histories, over each transport.
func TestAServersHistoryIsTheSameOnTheMap(t *testing.T) {
	addr, token := serve(t)
	const devices, fixes = 300, 20
	begin := time.Now().Add(-time.Hour).Truncate(time.Second)
	conn := dial(t, addr, token)
	names := make([]client.NewDevice, devices)
	for i := range names {
		names[i].Name = fmt.Sprintf("van-%03d", i)
	}
	if _, err := conn.EnrollBatch(t.Context(), names); err != nil {
		t.Fatal(err)
	}
	for i, d := range names {
		var all []client.Fix
		for k := range fixes {
			all = append(all, reported(i, begin.Add(time.Duration(k*30+i%30)*time.Second)))
		}
		// The middle comes last: late, and in its place in history.
		for _, part := range [][]client.Fix{all[:8], all[12:], all[8:12]} {
			if _, _, err := conn.Report(t.Context(), d.Name, part); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, scheme := range map[string]string{"frames": "", "http": "http://"} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, scheme+addr, token)
			live := fleet.New(fleet.Config{})
			a := &archive{fixes: map[track.DeviceID][]client.Fix{}}
			for f, err := range conn.Positions(t.Context(), client.Area{}) {
				if err != nil {
					t.Fatal(err)
				}
				live.Apply([]client.Fix{f})
				for h, err := range conn.History(t.Context(), client.HistoryQuery{Device: f.Name, Heartbeats: true}) {
					if err != nil {
						t.Fatal(err)
					}
					a.fixes[f.Device] = append(a.fixes[f.Device], h)
				}
			}
			p := New(FromConn(conn, 16), live, nil)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			for after, heard := range map[time.Duration]int{
				5 * time.Minute: devices, 4*time.Minute + 10500*time.Millisecond: devices, 15500 * time.Millisecond: 160, -time.Minute: 0,
			} {
				at := begin.Add(after)
				p.Seek(at)
				until(t, p, func(s State) bool { return s.Loaded == devices && p.Store().Now().Equal(at) })
				if p.State().Err != nil {
					t.Errorf("%+v", p.State())
				}
				got, want := picture(p.Store()), a.then(at)
				if len(got) != heard || !reflect.DeepEqual(got, want) {
					t.Errorf("after %v: %d devices are shown, want %d", after, len(got), heard)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// until waits for a player that works in real time.
func until(t *testing.T, p *Player, want func(State) bool) {
	t.Helper()
	patience := time.After(30 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !want(p.State()) {
		select {
		case <-look.C:
		case <-patience:
			t.Fatalf("waited in vain: %+v", p.State())
		}
	}
}

func reported(i int, at time.Time) client.Fix {
	f := client.Fix{
		Time: at.UTC(), At: geo.Deg(48+float64(i)/100, 11+float64(at.Unix()%3600)/1e4), Alt: i - 50, Speed: 13.37, Course: 271.5, Accuracy: 5,
		Has: track.HasPos | track.HasAlt | track.HasVel | track.HasAcc | track.HasBat, Battery: i % 101, Power: i%2 == 0,
	}
	if i%17 == 3 {
		f.Event = "motion_stop"
	}
	return f
}

func serve(t *testing.T) (addr, token string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	ready := make(chan string, 1)
	s, err := server.Open(context.Background(), server.Config{
		Data: dir, Listen: "127.0.0.1:0", UDP: "127.0.0.1:0", TLS: server.TLSOff,
		Ready: func(tcp, _ net.Addr) { ready <- tcp.String() },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	b, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return <-ready, strings.TrimSpace(string(b))
}

func dial(t *testing.T, addr, token string) *client.Conn {
	t.Helper()
	c, err := client.Dial(client.Config{Server: addr, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
