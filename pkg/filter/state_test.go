package filter

import (
	"testing"
	"time"
)

func TestStateOf(t *testing.T) {
	short := Ages{Stale: time.Minute, Lost: time.Hour}
	for _, tt := range []struct {
		ages            Ages
		age             time.Duration
		alarmed, moving bool
		want            State
	}{
		{Ages{}, 0, false, false, Idle},
		{Ages{}, -time.Hour, false, true, Moving},
		{Ages{}, 2*time.Minute - 1, false, true, Moving},
		{Ages{}, 2 * time.Minute, false, true, Stale},
		{Ages{}, 15 * time.Minute, false, true, Lost},
		{Ages{}, 24 * time.Hour, true, false, Alert},
		{short, time.Minute, false, false, Stale},
		{short, time.Hour, false, false, Lost},
		{Ages{Stale: time.Hour}, 16 * time.Minute, false, false, Idle},
		{Ages{Stale: time.Hour}, time.Hour, false, false, Lost},
		{Ages{Stale: time.Hour, Lost: time.Minute}, time.Minute, false, false, Idle},
	} {
		if got := tt.ages.StateOf(tt.age, tt.alarmed, tt.moving); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt, got, tt.want)
		}
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s := range States {
		got, err := ParseState(s.String())
		if got != s || err != nil {
			t.Errorf("%v reads back as %v, %v", s, got, err)
		}
	}
	if s, err := ParseState("sleepy"); err == nil || States.String() != "state_5" {
		t.Errorf("sleepy is %v; one state too many is %q", s, States)
	}
}

func TestWhatIsForAPersonToSeeIsAlarming(t *testing.T) {
	for event, want := range map[string]bool{"sos": true, "tamper": true, "": false, "low_battery": false, "event_9": false} {
		if got := Alarming(event); got != want {
			t.Errorf("%q: %v", event, got)
		}
	}
}
