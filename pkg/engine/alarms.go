package engine

import (
	"slices"
	"strings"
	"time"

	"tracker/pkg/track"
)

// AlarmSet is what a human should look at on a device. Alarms are kept in memory;
// a new key clears them.
type AlarmSet uint16

const (
	// AlarmNonceReuse: two datagrams of one packet id with different tags, both
	// authentic. Two senders share a key stream.
	AlarmNonceReuse AlarmSet = 1 << iota
	// AlarmClone: two sessions alternated for ten minutes on a device that was not
	// said to have two bearers.
	AlarmClone
	// AlarmEpochFuture: a session opened with a clock more than an hour ahead. See
	// ResetFloor.
	AlarmEpochFuture
	// AlarmAuthFlood: so many forgeries on one session that the limit of the cipher
	// comes near.
	AlarmAuthFlood
)

var alarmNames = [...]string{"nonce_reuse", "clone_suspected", "epoch_future", "auth_flood"}

// Names lists the alarms of the set as they are written on every wire.
func (a AlarmSet) Names() []string {
	var out []string
	for i, name := range alarmNames {
		if a&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func (a AlarmSet) String() string { return strings.Join(a.Names(), ",") }

// Alarm is one event for the operator's eyes.
type Alarm struct {
	Time   time.Time
	Kind   AlarmSet
	Device track.DeviceID
	Epoch  uint32
}

const keptAlarms = 100

// RaiseAlarm marks the device behind a credential. An alarm that stands already is
// not told again.
func (e *Engine) RaiseAlarm(kind AlarmSet, cred track.DeviceID, epoch uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, ok := e.reg.credAt(cred)
	if !ok {
		return
	}
	if kind == AlarmEpochFuture {
		e.noteFuture(cred, epoch)
	}
	d := e.reg.devices.at(e.reg.creds.at(i).device)
	if d.alarms&kind != 0 {
		return
	}
	d.alarms |= kind
	if len(e.alarms) == keptAlarms {
		e.alarms = slices.Delete(e.alarms, 0, 1)
	}
	e.alarms = append(e.alarms, Alarm{Time: e.now().UTC(), Kind: kind, Device: d.id, Epoch: epoch})
	e.log.Warn("alarm", "kind", kind.String(), "device", d.id.String(), "epoch", epoch)
}

// Alarms returns the newest alarms, oldest first.
func (e *Engine) Alarms() []Alarm {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Clone(e.alarms)
}

// keptFuture bounds what is remembered of a device that opens one session from the
// future after another. The newest stay: whatever is below them is struck with them
// for as long as it lies ahead.
const keptFuture = 64

// noteFuture remembers a session that lies ahead. Caller holds mu.
func (e *Engine) noteFuture(cred track.DeviceID, epoch uint32) {
	epochs := e.future[cred]
	at, known := slices.BinarySearch(epochs, epoch)
	if known {
		return
	}
	epochs = slices.Insert(epochs, at, epoch)
	e.future[cred] = epochs[max(0, len(epochs)-keptFuture):]
}

func (e *Engine) futureEpochs(cred track.DeviceID) []uint32 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.Clone(e.future[cred])
}
