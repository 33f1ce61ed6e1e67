package build

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// FaultTag is the build tag of a server that can be told to be slow, for the self-test.
const FaultTag = "benchfault"

// Info is what a binary says of its own build.
type Info struct {
	Path    string
	SHA256  string
	Go      string // "go1.26.8"
	Main    string // the package that became the program: "tracker/cmd/trackerd"
	Version string // of the main module, if it has one
	Commit  string // as the Go command stamped it, "+dirty" behind it if it was; often absent
	// Settings are those of the build, as they can be compared: stamps of versions are not
	// among them, and what does not depend on the order of words is in one order.
	Settings map[string]string

	modules map[string]string // version by path, of what it was built from
}

// HasFault says whether the server can be told to be slow.
func (i Info) HasFault() bool {
	return slices.Contains(strings.Split(i.Settings["-tags"], ","), FaultTag)
}

// Inspect reads what the trackerd at file says of its build. It does not run it.
func Inspect(file string) (Info, error) {
	i, err := inspect(file)
	if err != nil {
		return Info{}, fmt.Errorf("binary %q: %w", file, err)
	}
	return i, nil
}

func inspect(file string) (Info, error) {
	f, err := os.Open(file)
	if err != nil {
		return Info{}, hint(cause(err), "build it: go build -o FILE ./cmd/trackerd; or name a revision, and it is built for you")
	}
	defer f.Close()
	if err := runnable(f); err != nil {
		return Info{}, err
	}
	told, err := buildinfo.Read(f)
	if err != nil {
		return Info{}, hint(fmt.Errorf("it is not a Go program: %w", err), "give the program itself, not a script that starts it, nor an archive of it")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return Info{}, cause(err)
	}
	i := infoOf(told)
	i.Path, i.SHA256 = file, hex.EncodeToString(sum.Sum(nil))
	return i, i.isOurs()
}

// cause is an error without the path, which ours already names.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

func runnable(f *os.File) error {
	st, err := f.Stat()
	switch {
	case err != nil:
		return cause(err)
	case st.IsDir():
		return hint(errors.New("it is a directory"), "name the file in it: "+filepath.Join(f.Name(), "trackerd"))
	case !st.Mode().IsRegular():
		return errors.New("it is not a file")
	case runtime.GOOS != "windows" && st.Mode()&0o111 == 0:
		return hint(errors.New("it is not executable"), "chmod +x "+f.Name())
	}
	return nil
}

func (i Info) isOurs() error {
	if path.Base(i.Main) != "trackerd" {
		return hint(fmt.Errorf("it is not a trackerd: it was built from %s", i.Main), "go build -o FILE ./cmd/trackerd makes one")
	}
	system, machine := i.Settings["GOOS"], i.Settings["GOARCH"]
	if system != runtime.GOOS || machine != runtime.GOARCH {
		return fmt.Errorf("it is for %s/%s, and this is %s/%s", system, machine, runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

func infoOf(told *debug.BuildInfo) Info {
	i := Info{Go: told.GoVersion, Main: told.Path, Settings: map[string]string{}, modules: map[string]string{}}
	if told.Main.Version != "(devel)" {
		i.Version = told.Main.Version
	}
	dirty := ""
	for _, s := range told.Settings {
		switch s.Key {
		case "vcs.revision":
			i.Commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+dirty"
			}
		}
		if value := telling(s.Key, s.Value); value != "" {
			i.Settings[s.Key] = value
		}
	}
	if i.Commit != "" {
		i.Commit += dirty
	}
	for _, m := range told.Deps {
		i.modules[m.Path] = versionOf(m)
	}
	return i
}

func versionOf(m *debug.Module) string {
	if m.Replace == nil {
		return m.Version
	}
	return strings.TrimSpace(m.Replace.Path + " " + m.Replace.Version)
}

// telling is a setting as it matters for how the program runs; "" if it does not.
func telling(key, value string) string {
	switch {
	case key == "vcs" || strings.HasPrefix(key, "vcs."):
		return ""
	case key == "-ldflags":
		return strings.Join(withoutStamps(words(value)), " ")
	case key == "-tags":
		tags := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(tags)
		return strings.Join(slices.Compact(tags), ",")
	case key == "-pgo":
		return filepath.Base(value) // the rest is where it lay when it was built
	}
	return value
}

// withoutStamps leaves out -X name=value, which is how a build writes its version and its
// date into a program: two builds differ in them rightly.
func withoutStamps(flags []string) []string {
	var kept []string
	for k := 0; k < len(flags); k++ {
		switch flag := "-" + strings.TrimLeft(flags[k], "-"); {
		case flag == "-X":
			k++ // its value is the next word
		case strings.HasPrefix(flag, "-X="):
		default:
			kept = append(kept, flags[k])
		}
	}
	return kept
}

// words splits flags as the Go command does: at spaces, but not inside of a word that
// begins with a quote. A quote that does not end takes all the rest.
func words(s string) []string {
	var all []string
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" {
			return all
		}
		word, rest := s, ""
		if quote := s[0]; quote == '\'' || quote == '"' {
			word, rest, _ = strings.Cut(s[1:], string(quote))
		} else if end := strings.IndexAny(s, " \t\r\n"); end >= 0 {
			word, rest = s[:end], s[end:]
		}
		all, s = append(all, word), rest
	}
}
