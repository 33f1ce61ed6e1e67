package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/client"
	"tracker/pkg/filter"
	"tracker/pkg/geo"
	"tracker/pkg/track"
	"tracker/pkg/tui/conf"
)

// filterFlags say which devices are meant, and when one counts as stale and lost.
type filterFlags struct {
	text        string
	stale, lost time.Duration
	parse       func(string) (*filter.Filter, error) // nil is parseNamed
}

// flags adds all of them.
func (ff *filterFlags) flags(cmd *cobra.Command) {
	ff.filterFlag(cmd)
	ff.ageFlags(cmd.Flags())
}

func (ff *filterFlags) filterFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&ff.text, "filter", "", "only devices that this `filter` means, such as 'van speed>90'; see trackctl help filter")
	complete := func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return filter.Complete(typed), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	if err := cmd.RegisterFlagCompletionFunc("filter", complete); err != nil {
		panic(err) // the flag is two lines above
	}
}

func (ff *filterFlags) ageFlags(f *pflag.FlagSet) {
	defaults := filter.Ages{}.Filled()
	f.DurationVar(&ff.stale, "stale", defaults.Stale, "a device silent for this `time` is stale")
	f.DurationVar(&ff.lost, "lost", defaults.Lost, "and after this `time` lost")
}

// ages are those of the flags, checked.
func (ff *filterFlags) ages() (filter.Ages, error) {
	if ff.stale <= 0 || ff.lost < ff.stale {
		return filter.Ages{}, usagef("--stale %v and --lost %v: want some time, and lost not before stale", ff.stale, ff.lost)
	}
	return filter.Ages{Stale: ff.stale, Lost: ff.lost}, nil
}

// filter is the one of the flag, or nil if there is none.
func (ff *filterFlags) filter() (*filter.Filter, error) {
	if strings.TrimSpace(ff.text) == "" {
		return nil, nil
	}
	parse := ff.parse
	if parse == nil {
		parse = parseNamed
	}
	f, err := parse(ff.text)
	if err != nil {
		return nil, hint(usagef("--filter: %w", err), "trackctl help filter shows what there is")
	}
	return f, nil
}

// parseNamed is conf.ParseFilter with the filters that the settings of the map name. They
// are read only if one could be meant.
func parseNamed(text string) (*filter.Filter, error) {
	if !strings.Contains(text, "@") {
		return filter.Parse(text)
	}
	set, _, err := loadSettings("")
	if err != nil {
		return nil, err
	}
	return conf.ParseFilter(text, set.Filters)
}

// filterOfFixes is a filter for what knows fixes, and not what the registry knows.
func (ff *filterFlags) filterOfFixes() (*filter.Filter, error) {
	f, err := ff.filter()
	if err == nil && f.Uses()&filter.Registry != 0 {
		return nil, hint(usagef("--filter: status and alarm are in the registry"), "trackctl device list knows them")
	}
	return f, err
}

// judge tells which fixes of a watch are wanted. What a device is does not follow from
// one fix alone, so it keeps a little of each device; without a filter it keeps nothing.
type judge struct {
	filter  *filter.Filter
	ages    filter.Ages
	known   map[track.DeviceID]known
	subject filter.Subject
}

// known is what fixes that do not say everything leave as it was.
type known struct {
	at      geo.Point
	has     track.Has // HasPos or nothing
	shifted bool      // its last two places are apart
	alarmed time.Time // when it last reported something for a person
}

// apart is from where on a device that does not know its speed has moved.
const apart geo.Meters = 14

// judge is made of the flags.
func (ff *filterFlags) judge() (*judge, error) {
	ages, err := ff.ages()
	if err != nil {
		return nil, err
	}
	f, err := ff.filterOfFixes()
	return &judge{filter: f, ages: ages, known: map[track.DeviceID]known{}}, err
}

// wants learns from a fix that was heard at a moment, and tells whether the filter means
// its device now.
func (j *judge) wants(f *client.Fix, heard, now time.Time) bool {
	if j.filter == nil {
		return true
	}
	k := j.known[f.Device]
	if !f.Late { // else it is history, and changes nothing
		k.learn(f, heard)
		j.known[f.Device] = k
	}
	j.subject = subject(f)
	j.subject.Age = now.Sub(heard)
	if !f.HasPos() {
		j.subject.At, j.subject.Has = k.at, f.Has|k.has
	}
	alarmed := !k.alarmed.IsZero() && now.Sub(k.alarmed) < filter.AlarmFor
	j.subject.State = j.ages.StateOf(j.subject.Age, alarmed, moving(f, k.shifted))
	return j.filter.Match(&j.subject)
}

// forget is for a device that is no longer watched.
func (j *judge) forget(id track.DeviceID) { delete(j.known, id) }

func (k *known) learn(f *client.Fix, heard time.Time) {
	if filter.Alarming(f.Event) {
		k.alarmed = heard
	}
	if !f.HasPos() {
		return
	}
	k.shifted = k.has != 0 && geo.Distance(k.at, f.At) > apart
	k.at, k.has = f.At, track.HasPos
}

func moving(f *client.Fix, shifted bool) bool {
	if f.Has&track.HasVel != 0 {
		return f.Speed >= filter.MovingFrom
	}
	return shifted
}

// subject is what a fix says of a device.
func subject(f *client.Fix) filter.Subject {
	name := f.Name
	if name == "" {
		name = f.Device.String()
	}
	return filter.Subject{
		ID: f.Device, Name: name, At: f.At, Has: f.Has,
		Speed: f.Speed, Course: f.Course, Alt: f.Alt, Battery: f.Battery, Accuracy: f.Accuracy,
		Power: f.Power, Jump: f.Jump, Suspect: f.Suspect, Late: f.Late, Event: f.Event,
	}
}

// heardOf is when a server heard of a device with a fix that is not news.
func heardOf(f *client.Fix, now time.Time) time.Time {
	switch {
	case f.Received.IsZero():
		return f.Time
	case f.Received.After(now):
		return now // its clock is ahead of ours
	}
	return f.Received
}

// enrolled makes of the flags what tells whether a device of the registry is meant.
func (ff *filterFlags) enrolled() (func(*client.Device) bool, error) {
	ages, err := ff.ages()
	if err != nil {
		return nil, err
	}
	f, err := ff.filter()
	if err != nil {
		return nil, err
	}
	return func(d *client.Device) bool {
		s := registered(d, ages, time.Now())
		return f.Match(&s)
	}, nil
}

// registered is a device of the registry as a filter looks at it.
func registered(d *client.Device, ages filter.Ages, now time.Time) filter.Subject {
	s := filter.Subject{Age: filter.Never, State: filter.Lost}
	if d.Last != nil {
		s = subject(d.Last)
		s.Age = now.Sub(heardOf(d.Last, now))
		s.State = ages.StateOf(s.Age, filter.Alarming(s.Event) && s.Age < filter.AlarmFor, moving(d.Last, false))
	}
	s.ID, s.Name, s.Status, s.Alarms = d.ID, first(d.Name, d.ID.String()), d.State, d.Alarms
	return s
}

// filterHelp tells the grammar, out of the keys that the filter has.
func filterHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "filter",
		Short: "What a filter may say",
		Long:  filterText(),
	}
}

func filterText() string {
	var b strings.Builder
	b.WriteString(`A word is looked for in the name. Words next to one another must all be true.

  van 7             both are in the name
  van | bus         one of them is
  !van              it is not
  (van | bus) !7    parentheses hold together
  v*7               any text between
  "van 7"           with its blank
  /^van-[0-9]+$/    a regular expression
  state:idle,lost   a key: one of the values, with != none of them
  speed>90          a number: also < <= >= and speed:50..90

`)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, k := range filter.Keys {
		fmt.Fprintf(w, "  %s\t%s\n\t  %s\n", k.Name, k.Help, k.Example)
	}
	_ = w.Flush() // into memory
	b.WriteString("\nWhat a device does not report is neither equal nor unequal to anything.\n")
	return b.String()
}
