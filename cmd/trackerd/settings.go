package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// envPrefix: the setting --max-rate is TRACKERD_MAX_RATE in the environment.
const envPrefix = "TRACKERD_"

// settle fills in the flags that were not given from the environment and then from
// the file, and reports every mistake at once.
func settle(flags *pflag.FlagSet, file string) error {
	if file == "" {
		file = os.Getenv(envName("config"))
	}
	fromFile, err := readSettings(file)
	if err != nil {
		return err
	}
	var wrong []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || f.Name == "help" {
			return // not of a file's business, and read already
		}
		value, where, ok := lookup(f.Name, file, fromFile)
		delete(fromFile, f.Name)
		if !ok || f.Changed {
			return
		}
		if err := flags.Set(f.Name, value); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %s: %w", where, f.Name, err))
		}
	})
	for name, s := range fromFile {
		wrong = append(wrong, fmt.Errorf("%s:%d: no setting is called %q; see trackerd config", file, s.line, name))
	}
	return errors.Join(wrong...)
}

func lookup(name, file string, fromFile map[string]setting) (value, where string, ok bool) {
	env := envName(name)
	if v, set := os.LookupEnv(env); set {
		return v, env, true
	}
	if s, set := fromFile[name]; set {
		return s.value, fmt.Sprintf("%s:%d", file, s.line), true
	}
	return "", "", false
}

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

type setting struct {
	value string
	line  int
}

const maxSettings = 64 << 10 // bytes of a file

// readSettings reads "name = value" lines; # starts a comment line.
func readSettings(file string) (map[string]setting, error) {
	if file == "" {
		return map[string]setting{}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	defer func() { _ = f.Close() }()
	out := map[string]setting{}
	if info, err := f.Stat(); err == nil && info.Size() > maxSettings {
		return nil, fmt.Errorf("%s: %d bytes are more than settings need, is it another file?", file, info.Size())
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxSettings))
	var wrong []error
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			wrong = append(wrong, fmt.Errorf("%s:%d: want NAME = VALUE, got %q", file, n, line))
			continue
		}
		if before, twice := out[name]; twice {
			wrong = append(wrong, fmt.Errorf("%s:%d: %s stands in line %d already", file, n, name, before.line))
		}
		out[name] = setting{value: strings.TrimSpace(value), line: n}
	}
	if err := lines.Err(); err != nil {
		wrong = append(wrong, fmt.Errorf("%s: %w", file, err))
	}
	return out, errors.Join(wrong...)
}
