// Package past shows what was instead of what is: it fills a store out of history and
// moves its clock, so that everything that draws a live store draws the past as well.
package past

import (
	"context"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
	"tracker/pkg/tui/fleet"
)

// Source is where history comes from. Window yields the fixes of some devices with
// from <= Time < to, each device's in order.
type Source interface {
	Window(ctx context.Context, devices []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error
}

// FromConn asks a server, one device after the other.
func FromConn(c *client.Conn, _ int) Source { return fromConn{c} }

type fromConn struct{ conn *client.Conn }

// batch is how many fixes are yielded at once.
const batch = 1024

func (s fromConn) Window(ctx context.Context, devices []track.DeviceID, from, to time.Time, yield func([]client.Fix) error) error {
	var fixes []client.Fix
	for _, id := range devices {
		fixes = fixes[:0]
		for f, err := range s.conn.History(ctx, client.HistoryQuery{Device: id.String(), From: from, To: to}) {
			if err != nil {
				return err
			}
			if fixes = append(fixes, f); len(fixes) == batch {
				if err := yield(fixes); err != nil {
					return err
				}
				fixes = fixes[:0]
			}
		}
		if len(fixes) == 0 {
			continue
		}
		if err := yield(fixes); err != nil {
			return err
		}
	}
	return nil
}

// State is where a player is.
type State struct {
	Live          bool
	At            time.Time // if not live
	Speed         float64   // 0 holds
	Loaded, Total int       // devices
	Err           error
}

// Player is the hand on the clock. So far it cannot leave the present.
type Player struct{ live *fleet.Store }

// New makes a player that shows the present.
func New(_ Source, live *fleet.Store, _ func() time.Time) *Player { return &Player{live: live} }

// Run loads what is wanted until ctx is done.
func (p *Player) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Seek goes to a moment.
func (p *Player) Seek(time.Time) {}

// Step goes on by d, back if it is negative.
func (p *Player) Step(time.Duration) {}

// Play lets the clock run at so many times the speed of life.
func (p *Player) Play(float64) {}

// Pause holds the clock.
func (p *Player) Pause() {}

// Live goes back to the present.
func (p *Player) Live() {}

// First says whose history is wanted before that of others.
func (p *Player) First([]track.DeviceID) {}

// Store is what to draw.
func (p *Player) Store() *fleet.Store { return p.live }

// State tells where the player is.
func (p *Player) State() State { return State{Live: true} }
