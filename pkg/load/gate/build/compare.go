package build

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrUnlike marks binaries that may not be compared, because the difference would be
// that of their builds.
var ErrUnlike = errors.New("not built alike")

const alikeHint = "build both by one Go, on one machine and with the same flags; trackbench gate --base-ref REV does"

// Compare refuses binaries whose builds differ in anything but the source, and those that
// can be told to be slow. The error wraps ErrUnlike and names everything that differs.
func Compare(base, head Info) error {
	for _, side := range []struct {
		name string
		info Info
	}{{"base", base}, {"head", head}} {
		if side.info.HasFault() {
			return hint(fmt.Errorf("%w: %s was built with -tags=%s, which is for the self-test only", ErrUnlike, side.name, FaultTag),
				"build it without the tag")
		}
	}
	return alike(base, head)
}

// alike refuses binaries whose builds differ in anything but the source.
func alike(base, head Info) error {
	var unlike []string
	differ := func(b, h string) { unlike = append(unlike, fmt.Sprintf("base was built %s, head %s", b, h)) }
	if base.Go != head.Go {
		differ("with "+base.Go, "with "+head.Go)
	}
	for _, key := range keys(base.Settings, head.Settings) {
		b, h := base.Settings[key], head.Settings[key]
		if b != h && !ofSource(key, b, h) {
			differ(with(key, b), with(key, h))
		}
	}
	if len(unlike) == 0 {
		return nil
	}
	return hint(fmt.Errorf("%w: %s", ErrUnlike, strings.Join(unlike, "; ")), alikeHint)
}

func with(key, value string) string {
	if value == "" {
		return "without " + key
	}
	return "with " + key + "=" + value
}

// ofSource says of a setting whether it follows from files of the source: then a
// difference is part of the change, which a gate is there to judge. The go and godebug
// lines of go.mod make DefaultGODEBUG, and a default.pgo beside the program is taken by
// itself; any other profile was named by who built it.
func ofSource(key, base, head string) bool {
	const profile = "default.pgo"
	own := func(value string) bool { return value == "" || value == profile }
	return key == "DefaultGODEBUG" || key == "-pgo" && own(base) && own(head)
}

// Changes tells what a reader has to know of two binaries that may be compared: what
// differs beside the code, and what both share that makes their figures not those of
// what people run.
func Changes(base, head Info) []string {
	if base.SHA256 == head.SHA256 {
		return append([]string{"base and head are the same, byte for byte"}, oddities(head)...)
	}
	var notes []string
	for _, key := range keys(base.Settings, head.Settings) {
		if b, h := base.Settings[key], head.Settings[key]; b != h && ofSource(key, b, h) {
			notes = append(notes, fmt.Sprintf("the change brings a head %s; base was built %s", with(key, h), with(key, b)))
		}
	}
	for _, module := range keys(base.modules, head.modules) {
		switch b, h := base.modules[module], head.modules[module]; {
		case b == h:
		case b == "":
			notes = append(notes, fmt.Sprintf("the change adds %s %s", module, h))
		case h == "":
			notes = append(notes, fmt.Sprintf("the change drops %s %s", module, b))
		default:
			notes = append(notes, fmt.Sprintf("the change moves %s from %s to %s", module, b, h))
		}
	}
	return append(notes, oddities(head)...)
}

// oddities are what builds are made with for other ends than speed.
func oddities(i Info) []string {
	var odd []string
	for _, key := range []string{"-asan", "-cover", "-gcflags", "-msan", "-race"} {
		if value := i.Settings[key]; value != "" {
			odd = append(odd, fmt.Sprintf("both were built %s: figures are not those of an ordinary build", with(key, value)))
		}
	}
	return odd
}

func keys(a, b map[string]string) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}
