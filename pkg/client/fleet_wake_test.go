package client

import (
	"context"
	"testing"
	"time"
)

// TestFleetSendsALastFixThatHasToWait once slept for an hour: the second fix came
// while its device was not yet allowed to send, nobody else had anything to say, and
// the run was not told.
func TestFleetSendsALastFixThatHasToWait(t *testing.T) {
	e := testEnrolment(0)
	s := newSink(t, e)
	f := NewFleet(FleetConfig{Addr: s.addr()})
	if _, err := f.Add(e); err != nil {
		t.Fatal(err)
	}
	start(t, f.Run)
	for n := range 3 {
		fix := testFix(n)
		if err := f.Send(t.Context(), 0, &fix); err != nil {
			t.Fatal(err)
		}
		s.await(n + 1) // the run rests again, with nothing planned
		patient, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := f.Flush(patient)
		cancel()
		if err != nil {
			t.Fatalf("fix %d: %v", n, err)
		}
	}
}
