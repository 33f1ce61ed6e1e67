package load

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// Cue is one fix to send, and when. Device is its number in the fleet. Cues are in
// order of Due.
type Cue struct {
	Device int
	Due    time.Duration // on the recording's clock, from its beginning
	Fix    track.Fix
}

// Player sends cues through a fleet in the rhythm in which they are due. The fleet has
// to be running; it keeps each device to the limits of the server by letting fixes
// travel together.
type Player struct {
	Fleet *client.Fleet
	// Speed is how many seconds of the recording pass in one of ours. 0 = 1.
	Speed float64
	// MaxGap is how long, on our clock, nothing may be due: longer silences are cut
	// short. 0 keeps them.
	MaxGap time.Duration
	// MaxRate spreads what is due faster, in fixes a second. 0 = 20,000.
	MaxRate float64

	position atomic.Int64 // cues handed to the fleet
	lag      atomic.Int64 // how late the last one was
}

const defaultMaxRate = 20_000

// Schedule is when each cue is sent, from the beginning of the play on our clock, and
// how much silence of the recording was cut out.
func (p *Player) Schedule(cues []Cue) (at []time.Duration, cut time.Duration) {
	speed, rate := p.Speed, p.MaxRate
	if speed == 0 {
		speed = 1
	}
	if rate == 0 {
		rate = defaultMaxRate
	}
	apart := time.Duration(float64(time.Second) / rate)
	at = make([]time.Duration, len(cues))
	var skipped, first time.Duration
	for i := range cues {
		if i == 0 {
			first = cues[0].Due
			continue
		}
		due := scaled(cues[i].Due-first, speed) - skipped
		if gap := due - at[i-1]; p.MaxGap > 0 && gap > p.MaxGap {
			skipped += gap - p.MaxGap
			cut += time.Duration(float64(gap-p.MaxGap) * speed)
			due = at[i-1] + p.MaxGap
		}
		at[i] = max(due, at[i-1]+apart)
	}
	return at, cut
}

func scaled(d time.Duration, speed float64) time.Duration {
	return time.Duration(float64(d) / speed)
}

// Play hands every cue to the fleet when it is due. It returns when all of them were,
// not when they were sent: see Fleet.Flush.
func (p *Player) Play(ctx context.Context, cues []Cue) error {
	at, _ := p.Schedule(cues)
	p.position.Store(0)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range cues {
		late := time.Since(start) - at[i]
		if late < 0 {
			timer.Reset(-late)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		p.lag.Store(int64(max(0, late)))
		if err := p.Fleet.Send(ctx, cues[i].Device, &cues[i].Fix); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		p.position.Add(1)
	}
	return ctx.Err()
}

// Position is how many cues were handed out, and how late the last one was. It may be
// asked while Play runs.
func (p *Player) Position() (cues int, lag time.Duration) {
	return int(p.position.Load()), time.Duration(p.lag.Load())
}
