package web

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// The message report, by which an admin hands in fixes of a device. Most are plain: those
// are read by hand, without memory of their own. What has an escape in it, a null or
// anything odd goes to the decoder for all JSON, which also finds the words for what is
// wrong.

// What a connection may report: so many fixes a second over time, and so many at once.
// Beyond that it is read more slowly. A report counts as leastReport fixes if it has
// fewer, and as a refused one if it is refused.
const (
	reportPerSec  = 100_000
	reportBurst   = 200_000
	leastReport   = 10
	refusedReport = 1000
)

// Members of a fix that is reported, as indexes of parts.
const (
	partTime = iota
	partLat
	partLon
	partAlt
	partSpeed
	partCourse
	partAccuracy
	partBattery
	parts
)

// spoken is a fix as the message has it: the members that are there, in its units.
type spoken struct {
	has uint // 1<<part
	v   [parts]float64
}

func (p *spoken) set(part int, v float64) {
	p.has |= 1 << part
	p.v[part] = v
}

// claim puts it into the units of a fix, and says what is wrong where there is no such
// fix at all.
func (p *spoken) claim(c *engine.Claim) (wrong string) {
	const place, motion = 1<<partLat | 1<<partLon, 1<<partSpeed | 1<<partCourse
	if p.has&(1<<partTime) == 0 {
		return "time is missing"
	}
	c.Time = p.v[partTime]
	if p.has&place != 0 {
		if lat, lon := p.v[partLat], p.v[partLon]; p.has&place != place {
			return "lat and lon go together"
		} else if !(math.Abs(lat) <= 90 && math.Abs(lon) <= 180) {
			return "place is not on the globe"
		} else {
			c.At, c.Has = geo.Deg(lat, lon), c.Has|track.HasPos
		}
	}
	if p.has&motion != 0 {
		if p.has&motion != motion {
			return "speed_mps and course_deg go together"
		}
		if wrong := p.motion(c); wrong != "" {
			return wrong
		}
	}
	return p.rest(c)
}

func (p *spoken) motion(c *engine.Claim) (wrong string) {
	speed, course := math.Round(p.v[partSpeed]*100), math.Round(p.v[partCourse]*100)
	if !(speed >= 0 && speed <= math.MaxUint16) {
		return "speed is not in 0..655.35"
	}
	if course == 36000 && p.v[partCourse] < 360 {
		course = 0 // a hair short of north
	}
	if !(course >= 0 && course < math.MaxUint16) {
		course = math.MaxUint16 // is refused, too
	}
	c.Speed, c.Course, c.Has = uint16(speed), uint16(course), c.Has|track.HasVel
	return ""
}

func (p *spoken) rest(c *engine.Claim) (wrong string) {
	if p.has&(1<<partAlt) != 0 {
		alt := math.Round(p.v[partAlt])
		if !(alt >= math.MinInt16 && alt <= math.MaxInt16) {
			return "altitude is not in -32768..32767"
		}
		c.Alt, c.Has = int16(alt), c.Has|track.HasAlt
	}
	if p.has&(1<<partAccuracy) != 0 {
		if c.Accuracy, c.Has = p.v[partAccuracy]*100, c.Has|track.HasAcc; c.Accuracy < 0 {
			return "accuracy is below 0"
		}
	}
	if p.has&(1<<partBattery) != 0 {
		pct := math.Round(p.v[partBattery])
		if !(pct >= 0 && pct < 127) {
			pct = 126 // is refused, too
		}
		c.Battery, c.Has = uint8(pct), c.Has|track.HasBat
	}
	return ""
}

// report is the head of a message report.
type report struct {
	id     int64
	device string
}

// hear takes a message if it is a report of somebody who may, and tells whether it was.
func (s *session) hear(b []byte, now time.Time) bool {
	if s.who.Role != engine.RoleAdmin {
		return false
	}
	reading := engine.NewReading()
	defer reading.Free()
	p := plainReport{b: b}
	rep, ok := p.read(reading)
	if !ok {
		return false
	}
	s.file(rep, reading, nil, now)
	return true
}

// hearOdd is for a report that is not plain.
func (s *session) hearOdd(b []byte, now time.Time) {
	reading := engine.NewReading()
	defer reading.Free()
	rep, err := decodeReport(b, reading)
	s.file(rep, reading, err, now)
}

// file files what a report says and answers. The connection of a token that ended lives on
// until the sweeper comes by: it changes nothing any more.
func (s *session) file(rep report, reading *engine.Reading, err error, now time.Time) {
	if !s.w.engine.TokenAlive(s.who.Token) {
		s.end(tokenEnded)
		return
	}
	var id track.DeviceID
	late, n := 0, len(reading.Fixes)
	if err == nil {
		id, err = s.w.engine.Resolve(rep.device)
	}
	if err == nil {
		err = reading.Done(now)
	}
	if err == nil {
		late, err = s.w.engine.Report(id, reading.Fixes)
	}
	if err != nil {
		s.ask(ask{op: "report", id: rep.id, err: err})
		s.pause(s.reports.pay(refusedReport, reportPerSec, reportBurst, now))
		return
	}
	s.w.stats.fixesReported.Add(uint64(n))
	s.answer(func(b []byte) []byte { return appendReported(b, rep.id, id, n, late) })
	s.pause(s.reports.pay(max(n, leastReport), reportPerSec, reportBurst, now))
}

func appendReported(dst []byte, id int64, device track.DeviceID, accepted, late int) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0) // headerRoom
	dst = append(dst, `{"type":"reported","id":`...)
	dst = appendInt(dst, id)
	dst = append(dst, `,"device":"`...)
	dst, _ = device.AppendText(dst)
	dst = append(dst, `","accepted":`...)
	dst = appendInt(dst, int64(accepted))
	dst = append(dst, `,"late":`...)
	dst = appendInt(dst, int64(late))
	return sealText(append(dst, '}'), start)
}

// reportMessage is a report for the decoder of all JSON.
type reportMessage struct {
	Op     string      `json:"op"`
	ID     int64       `json:"id"`
	Device string      `json:"device"`
	Fixes  []spokenFix `json:"fixes"`
}

type spokenFix struct {
	Time     json.RawMessage `json:"time"`
	Lat      *float64        `json:"lat"`
	Lon      *float64        `json:"lon"`
	Alt      *float64        `json:"alt_m"`
	Speed    *float64        `json:"speed_mps"`
	Course   *float64        `json:"course_deg"`
	Accuracy *float64        `json:"accuracy_m"`
	Battery  *float64        `json:"battery_pct"`
}

// decodeReport reads any report. The head is good for an answer even if the rest is not.
func decodeReport(b []byte, reading *engine.Reading) (report, error) {
	var m reportMessage
	err := decodeStrict(b, &m)
	rep := report{m.ID, m.Device}
	if err != nil {
		return rep, fmt.Errorf("message: %v: %w", err, track.ErrInvalid)
	}
	for i := range m.Fixes {
		var c engine.Claim
		if wrong := m.Fixes[i].claim(&c); wrong != "" {
			return rep, reading.Refuse(wrong)
		}
		if err := reading.Add(&c); err != nil {
			return rep, err
		}
	}
	return rep, nil
}

func (f *spokenFix) claim(c *engine.Claim) (wrong string) {
	var p spoken
	if len(f.Time) > 0 && string(f.Time) != "null" {
		ms, ok := spokenTime(f.Time)
		if !ok {
			return "time is neither RFC 3339 nor unix milliseconds"
		}
		p.set(partTime, ms)
	}
	for i, v := range [...]*float64{f.Lat, f.Lon, f.Alt, f.Speed, f.Course, f.Accuracy, f.Battery} {
		if v != nil {
			p.set(partLat+i, *v)
		}
	}
	return p.claim(c)
}

// spokenTime reads a JSON value, a string of RFC 3339 or a number of milliseconds. What
// is finer than a millisecond is cut off a string.
func spokenTime(b []byte) (ms float64, ok bool) {
	if b[0] != '"' {
		ms, err := strconv.ParseFloat(string(b), 64)
		return ms, err == nil
	}
	t, err := time.Parse(time.RFC3339, string(b[1:len(b)-1]))
	return float64(t.UnixMilli()), err == nil
}

// plainReport reads a plain report: members by their exact names and each once, strings
// without escapes, no null.
type plainReport struct {
	b  []byte
	at int
}

// read tells whether all of it was plain, and nothing wrong with it.
func (p *plainReport) read(reading *engine.Reading) (rep report, ok bool) {
	const op, id, device, fixes = 1, 2, 4, 8
	seen := 0
	ok = p.object(func(name []byte) bool {
		member := 0
		switch string(name) {
		case "op":
			member = op
			v, ok := p.text()
			if !ok || string(v) != "report" {
				return false
			}
		case "id":
			member = id
			v, ok := p.number()
			if !ok {
				return false
			}
			n, err := strconv.ParseInt(string(v), 10, 64)
			if rep.id = n; err != nil {
				return false
			}
		case "device":
			member = device
			v, ok := p.text()
			if rep.device = string(v); !ok {
				return false
			}
		case "fixes":
			member = fixes
			if !p.fixes(reading) {
				return false
			}
		}
		again := seen & member
		seen |= member
		return member != 0 && again == 0
	})
	p.space()
	return rep, ok && seen&op != 0 && p.at == len(p.b)
}

// object reads an object; member reads the value of each.
func (p *plainReport) object(member func(name []byte) bool) bool {
	if !p.take('{') {
		return false
	}
	if p.take('}') {
		return true
	}
	for {
		name, ok := p.text()
		if !ok || !p.take(':') || !member(name) {
			return false
		}
		if !p.take(',') {
			return p.take('}')
		}
	}
}

func (p *plainReport) fixes(reading *engine.Reading) bool {
	if !p.take('[') {
		return false
	}
	for {
		var fix spoken
		var c engine.Claim
		if !p.object(func(name []byte) bool { return p.part(&fix, name) }) || fix.claim(&c) != "" || reading.Add(&c) != nil {
			return false
		}
		if !p.take(',') {
			return p.take(']')
		}
	}
}

func (p *plainReport) part(fix *spoken, name []byte) bool {
	part := partOf(name)
	if part < 0 || fix.has&(1<<part) != 0 {
		return false
	}
	p.space()
	start := p.at
	if part == partTime && p.at < len(p.b) && p.b[p.at] == '"' {
		if _, ok := p.text(); !ok {
			return false
		}
		ms, ok := spokenTime(p.b[start:p.at])
		fix.set(part, ms)
		return ok
	}
	v, ok := p.number()
	if !ok {
		return false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	fix.set(part, f)
	return err == nil
}

func partOf(name []byte) int {
	switch string(name) {
	case "time":
		return partTime
	case "lat":
		return partLat
	case "lon":
		return partLon
	case "alt_m":
		return partAlt
	case "speed_mps":
		return partSpeed
	case "course_deg":
		return partCourse
	case "accuracy_m":
		return partAccuracy
	case "battery_pct":
		return partBattery
	}
	return -1
}

// space skips what may stand between the parts of JSON.
func (p *plainReport) space() {
	for p.at < len(p.b) {
		switch p.b[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

// take takes one character, if it is next.
func (p *plainReport) take(c byte) bool {
	if p.space(); p.at < len(p.b) && p.b[p.at] == c {
		p.at++
		return true
	}
	return false
}

// text takes a string in which every byte stands for itself. That the message is UTF-8
// has been seen to.
func (p *plainReport) text() ([]byte, bool) {
	if !p.take('"') {
		return nil, false
	}
	for start := p.at; p.at < len(p.b); p.at++ {
		switch c := p.b[p.at]; {
		case c == '"':
			p.at++
			return p.b[start : p.at-1], true
		case c == '\\' || c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// number takes what JSON calls a number.
func (p *plainReport) number() ([]byte, bool) {
	p.space()
	start := p.at
	p.skip('-')
	if lead := p.at; !p.digits() || p.b[lead] == '0' && p.at-lead > 1 {
		return nil, false
	}
	if p.skip('.') && !p.digits() {
		return nil, false
	}
	if p.skip('e') || p.skip('E') {
		if !p.skip('-') {
			p.skip('+')
		}
		if !p.digits() {
			return nil, false
		}
	}
	return p.b[start:p.at], true
}

func (p *plainReport) skip(c byte) bool {
	if p.at < len(p.b) && p.b[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *plainReport) digits() bool {
	start := p.at
	for p.at < len(p.b) && p.b[p.at]-'0' < 10 {
		p.at++
	}
	return p.at > start
}

// answer says something that came of no ask, behind what came of asks before. The reader
// waits while the client leaves much unread.
func (s *session) answer(frame func(dst []byte) []byte) {
	s.mu.Lock()
	for (len(s.asks) > 0 || s.doing || s.said != nil && len(s.said.b) > maxSaid) && !s.ended() {
		s.room.Wait()
	}
	s.mu.Unlock()
	s.say(frame)
	s.wake(true)
}

// budget is what a client has had of us of late, and not made up for by waiting.
type budget struct {
	spent float64
	last  time.Time
}

// pay takes a price and tells how long the client has to wait for what comes next.
func (b *budget) pay(price, perSec, most int, now time.Time) (wait time.Duration) {
	b.spent = max(b.spent-now.Sub(b.last).Seconds()*float64(perSec), 0) + float64(price)
	b.last = now
	if over := b.spent - float64(most); over > 0 {
		return time.Duration(over / float64(perSec) * float64(time.Second))
	}
	return 0
}
