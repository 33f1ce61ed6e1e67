package client

import (
	"errors"
	"testing"

	"tracker/pkg/seal"
	"tracker/pkg/track"
)

// newVolley makes a volley of n devices and the sink that it is sent to.
func newVolley(t testing.TB, n int) (*Volley, *sink) {
	t.Helper()
	var es []seal.Enrolment
	for i := range n {
		es = append(es, testEnrolment(i))
	}
	s := newSink(t, es...)
	v, err := NewVolley(s.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	for i := range es {
		if number, err := v.Add(es[i].String()); err != nil || number != i {
			t.Fatalf("got %d, %v, want %d", number, err, i)
		}
	}
	return v, s
}

func TestVolleySendsWhatWasSealedAsItIsTold(t *testing.T) {
	const devices, each = 7, 20
	v, s := newVolley(t, devices)
	for round := range 2 { // the second time in the room of the first
		for n := range each {
			for i := range devices {
				fix := testFix(round*each + n)
				if err := v.Seal(i, &fix); err != nil {
					t.Fatal(err)
				}
			}
		}
		if v.Waiting() != devices*each {
			t.Fatalf("got %d that wait, want %d", v.Waiting(), devices*each)
		}
		for sent := 0; v.Waiting() > 0; {
			if err := v.Send(33); err != nil {
				t.Fatal(err)
			}
			sent += 33
			s.await(round*devices*each + min(sent, devices*each))
		}
	}
	fixes, datagrams := s.await(2 * devices * each)
	if len(datagrams) != 2*devices*each {
		t.Errorf("got %d datagrams, want %d", len(datagrams), 2*devices*each)
	}
	next := map[track.DeviceID]int{}
	for _, got := range fixes {
		want := testFix(next[got.Device])
		want.Device = got.Device
		next[got.Device]++
		got.Sub, got.PID = 0, 0
		if got != want {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestVolleyOfNobody(t *testing.T) {
	v, _ := newVolley(t, 1)
	fix := testFix(0)
	if err := v.Seal(1, &fix); !errors.Is(err, track.ErrInvalid) {
		t.Errorf("a device that was not added: got %v, want ErrInvalid", err)
	}
	if _, err := v.Add("trk1:nonsense"); err == nil {
		t.Error("an enrolment that is none was taken")
	}
	if err := v.Send(5); err != nil {
		t.Errorf("nothing to send: got %v", err)
	}
}

func BenchmarkVolley(b *testing.B) {
	v, _ := newVolley(b, 3)
	fix := testFix(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		fix.Time++
		if err := v.Seal(i%3, &fix); err != nil {
			b.Fatal(err)
		}
		if v.Waiting() == batchSize {
			if err := v.Send(batchSize); err != nil {
				b.Fatal(err)
			}
		}
	}
}
