package tuitest

import (
	"context"
	"fmt"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// History is a past for the devices of a fleet: each drives east on a parallel of its own,
// and says so every ten seconds.
type History struct{}

const historyBeat = 10 * time.Second

// At is the last fix of a device at a moment.
func (History) At(id track.DeviceID, t time.Time) client.Fix {
	t = t.UTC().Truncate(historyBeat)
	n := int64(id)
	return client.Fix{
		Device: id, Name: fmt.Sprintf("van-%04d", n-1000), Time: t, Received: t,
		At:  geo.Deg(36+float64(n%25), -9+float64((t.Unix()/int64(historyBeat.Seconds())+n*37)%4000)*0.01),
		Has: track.HasPos | track.HasVel, Speed: 20, Course: 90,
	}
}

// Window is what a player of the past asks for.
func (h History) Window(ctx context.Context, devices []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error {
	for _, id := range devices {
		var fixes []client.Fix
		at := from.Truncate(historyBeat)
		if at.Before(from) {
			at = at.Add(historyBeat)
		}
		for ; at.Before(to) && ctx.Err() == nil; at = at.Add(historyBeat) {
			fixes = append(fixes, h.At(id, at))
		}
		if err := yield(fixes); err != nil {
			return err
		}
	}
	return ctx.Err()
}
