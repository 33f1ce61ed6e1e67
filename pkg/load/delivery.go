package load

import (
	"context"
	"fmt"
	"math"

	"tracker/pkg/client"
)

// Delivery makes sure that every fix of a play is in history once:
//
//	Before ─► play ─► Prove: settle, audit ─► all there, or
//	                           ▲                  │ what is missing
//	                           └── send it again ─┘
//
// A fix is only sent again when history does not have it after the server had time to
// store all it took, so nothing is stored twice unless the network holds a datagram
// back for longer than that.
type Delivery struct {
	Auditor
	Fleet   *client.Fleet // with the auditor's members as its devices; running
	MaxRate float64       // of sending again, at first; 0 = 5,000 a second
	// Again, if set, is told how many fixes are sent again.
	Again func(missing int)
}

// Account is what became of the cues of a play: Stored + Missing of them, each sent
// at least once.
type Account struct {
	Stored  int
	Missing int
	Twice   int // copies too many
	Resent  int
}

// Rounds is how often what is missing is sent again before it is given up.
const Rounds = 5

const defaultResendRate = 5000

// Prove waits until the server has stored what it took and holds its history against
// the cues, which were played and flushed. It returns an account also with an error.
func (d *Delivery) Prove(ctx context.Context, cues []Cue) (Account, error) {
	rate := d.MaxRate
	if rate == 0 {
		rate = defaultResendRate
	}
	var a Account
	missing := cues
	for round := 0; ; round++ {
		a.Missing = len(missing)
		if _, err := Settle(ctx, d.Conn); err != nil {
			return a, err
		}
		found, err := d.Audit(ctx, missing)
		if err != nil {
			return a, err
		}
		a.Stored += found.Stored
		a.Twice += found.Twice
		missing = found.Missing
		a.Missing = len(missing)
		if len(missing) == 0 || round == Rounds {
			return a, nil
		}
		a.Resent += len(missing)
		if d.Again != nil {
			d.Again(len(missing))
		}
		if err := d.send(ctx, missing, rate/float64(round+1)); err != nil {
			return a, err
		}
	}
}

func (d *Delivery) send(ctx context.Context, cues []Cue, rate float64) error {
	p := Player{Fleet: d.Fleet, Speed: math.Inf(1), MaxRate: rate}
	if err := p.Play(ctx, cues); err != nil {
		return fmt.Errorf("send again: %w", err)
	}
	return d.Fleet.Flush(ctx)
}
