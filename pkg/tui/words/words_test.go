package words

import (
	"testing"
	"time"

	"tracker/pkg/geo"
)

func TestWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Thousands(0), "0"}, {Thousands(999), "999"}, {Thousands(1000), "1,000"}, {Thousands(1234567), "1,234,567"},
		{Rate(0), "0"}, {Rate(0.25), "0.2"}, {Rate(9812), "9812"}, {Rate(98_123), "98.1k"},
		{Age(-time.Second), "0s"}, {Age(59 * time.Second), "59s"}, {Age(61 * time.Minute), "1h"}, {Age(47 * time.Hour), "47h"}, {Age(1e6 * time.Hour), "999d"},
		{Length(0.61), "0.6 m"}, {Length(38), "38 m"}, {Length(2400), "2.4 km"}, {Length(611_000), "611 km"},
		{Direction(0), "north"}, {Direction(359.9), "north"}, {Direction(131), "south-east"}, {Direction(292.5), "north-west"},
		{Direction(-1), "north"}, {Direction(-90), "west"}, {Direction(-1000), "east"},
		{Spoken(0), "0 seconds"}, {Spoken(time.Second), "1 second"}, {Spoken(3 * time.Minute), "3 minutes"}, {Spoken(80 * time.Hour), "3 days"},
		{Near(geo.Deg(48.14, 11.58)), "in Munich"}, {Near(geo.Deg(-40, -120)), ""},
		{Near(geo.Deg(48.14, 12.6)), "76 km east of Munich"},
		{Place(geo.Deg(-33.5, -70.25)), "33.50000 south, 70.25000 west"},
		{Ago(0), "now"}, {Ago(3 * time.Second), "3s ago"}, {KMH(36.7), "132"}, {Lag(140 * time.Millisecond), "140ms"}, {Lag(5 * time.Second), "5s"},
		{Plural(1, "device"), "1 device"}, {Plural(0, "device"), "0 devices"}, {Plural(1000, "fix"), "1,000 fixes"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestSpoken(t *testing.T) {
	near, _ := Nearest(geo.Deg(48.14, 12.6))
	names := []string{"a", "b", "c"}
	for _, tt := range []struct{ got, want string }{
		{SpokenLength(0.3), "less than 1 metre"}, {SpokenLength(1.2), "1 metre"}, {SpokenLength(999.6), "1 kilometre"}, {SpokenLength(2400), "2.4 kilometres"},
		{SpokenLength(9990), "10 kilometres"}, {SpokenLength(1_611_000), "1,611 kilometres"},
		{SpokenSpeed(36.7), "132 kilometres an hour"}, {SpokenSpeed(0.3), "1 kilometre an hour"},
		{SpokenRate(9812.4, "fix"), "9,812 fixes a second"}, {SpokenRate(1.2, "fix"), "1 fix a second"}, {SpokenRate(0.25, "fix"), "1 fix every 4 seconds"},
		{SpokenRate(0.9, "fix"), "1 fix a second"}, {SpokenRate(0, "fix"), "no fixes"}, {SpokenRate(1.0/600, "fix"), "1 fix every 10 minutes"},
		{near.Spoken(), "76 kilometres east of Munich"}, {Roughly(geo.Deg(-33.5, -70.25)), "about 33.5 south, 70.2 west"},
		{All(names[:1], 3, 1), "a"}, {All(names[:2], 3, 2), "a and b"}, {All(names, 3, 3), "a, b and c"}, {All(names, 2, 17), "a, b and 15 more"}, {All(nil, 2, 0), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	if _, ok := Nearest(geo.Deg(-40, -120)); ok {
		t.Error("a city in the middle of the Pacific")
	}
}
