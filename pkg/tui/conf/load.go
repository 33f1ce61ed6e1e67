package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"tracker/pkg/tui/canvas"
)

// maxFile is more than anybody writes by hand.
const maxFile = 256 << 10

// Where finds the file of settings: the one that a flag names, or TRACK_MAP_CONFIG, or
// map.toml in dir if it is there. It is empty if there is none.
func Where(flag string, getenv func(string) string, dir string) string {
	if flag != "" {
		return flag
	}
	if file := getenv("TRACK_MAP_CONFIG"); file != "" {
		return file
	}
	if dir == "" {
		return ""
	}
	file := filepath.Join(dir, "map.toml")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return file
}

// Load reads a file of settings and gives actions their keys. What the file leaves out
// is as in Defaults, and so is all of it if the name is empty. If anything is wrong,
// nothing is returned but the error, which joins all mistakes, each a *Mistake.
func Load(file string, actions []Action) (*Config, *Keymap, error) {
	if file == "" {
		return Parse("", nil, actions)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read settings: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read settings: %w", err)
	}
	return Parse(file, data, actions)
}

// Parse is Load for what has been read. The file gives its name to mistakes, and its
// place to overlays.
func Parse(file string, data []byte, actions []Action) (*Config, *Keymap, error) {
	if len(data) > maxFile {
		return nil, nil, &Mistake{File: file, Msg: fmt.Sprintf("the file is larger than %d KiB", maxFile>>10)}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	d := &document{data: data, config: Defaults()}
	d.config.from = &source{file: file, data: data, at: map[string]int{}}
	if err := d.wellFormed(); err != nil {
		return nil, nil, err
	}
	d.walk()
	d.check()
	keys, clashes := d.config.keymap(actions)
	if err := joined(file, append(d.mistakes, clashes...)); err != nil {
		return nil, nil, err
	}
	return d.config, keys, nil
}

// source is the file that settings are out of, to say where something is in it.
type source struct {
	file string
	data []byte
	at   map[string]int // byte offsets, by path
}

// sep keeps "a.b" and a dot in a name apart.
const sep = "\x00"

func (s *source) note(at int, path ...string) { s.at[strings.Join(path, sep)] = at }

// offset is where something was set, if it was.
func (s *source) offset(path ...string) (at int, ok bool) {
	if s == nil {
		return 0, false
	}
	at, ok = s.at[strings.Join(path, sep)]
	return at, ok
}

// mistake is about what was set at a path, or about nothing in particular.
func (s *source) mistake(msg string, path ...string) *Mistake {
	if at, ok := s.offset(path...); ok {
		return s.mistakeAt(at, msg)
	}
	m := &Mistake{Msg: msg}
	if s != nil {
		m.File = s.file
	}
	return m
}

func (s *source) mistakeAt(at int, msg string) *Mistake {
	line, col := position(s.data, at)
	return &Mistake{s.file, line, col, msg}
}

// position counts lines, and characters in the line, up to a byte.
func position(data []byte, at int) (line, col int) {
	before := data[:min(max(at, 0), len(data))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte{'\n'}), 1 + utf8.RuneCount(before[start:])
}

// document is a file while it is read.
type document struct {
	data     []byte
	config   *Config
	mistakes []*Mistake
}

func (d *document) fault(at int, format string, args ...any) {
	d.mistakes = append(d.mistakes, d.config.from.mistakeAt(at, fmt.Sprintf(format, args...)))
}

// wellFormed finds the first place where the file is no TOML, which includes a key that
// is there twice. What follows such a place cannot be trusted, so it is the only mistake
// that is told alone.
func (d *document) wellFormed() error {
	var nothing struct{}
	err := toml.Unmarshal(d.data, &nothing)
	if err == nil {
		return nil
	}
	// The message may quote names, which may hold anything.
	msg := canvas.Clean(strings.TrimPrefix(err.Error(), "toml: "))
	var where *toml.DecodeError
	if !errors.As(err, &where) {
		return &Mistake{File: d.config.from.file, Msg: msg}
	}
	line, bytesIn := where.Position()
	return d.config.from.mistakeAt(lineStart(d.data, line)+bytesIn-1, msg)
}

func lineStart(data []byte, line int) int {
	at := 0
	for range line - 1 {
		at += bytes.IndexByte(data[at:], '\n') + 1
	}
	return at
}

// part is a part of a key: "time" and "step" of time.step.
type part struct {
	name string
	at   int
}

// value is a value of the file.
type value struct {
	kind unstable.Kind
	text string // what a string says, or the value as it is written
	at   int
	same bool // a string that reads as it is written: offsets into it are offsets of the file
	list []value
}

func (d *document) walk() {
	var p unstable.Parser
	p.Reset(d.data)
	var table []part
	known := true
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			table = parts(e)
			known = d.enter(table)
		case unstable.ArrayTable:
			table, known = parts(e), false
			d.fault(table[0].at, "want one table, [%s], not a list of them", path(table))
		case unstable.KeyValue:
			if known {
				d.pair(table, e)
			}
		}
	}
}

func parts(e *unstable.Node) (ps []part) {
	for it := e.Key(); it.Next(); {
		n := it.Node()
		ps = append(ps, part{string(n.Data), int(n.Raw.Offset)})
	}
	return ps
}

// path writes a key as people would.
func path(ps []part) string {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = bare(p.name)
	}
	return strings.Join(names, ".")
}

func names(ps []part) []string {
	ns := make([]string, len(ps))
	for i, p := range ps {
		ns[i] = p.name
	}
	return ns
}

// enter begins a table, and tells whether there is such a thing.
func (d *document) enter(table []part) bool {
	if !isTable(names(table)) {
		d.unknown(table)
		return false
	}
	return d.begin(table)
}

// begin makes room for what is in a table.
func (d *document) begin(table []part) bool {
	if len(table) < 2 {
		return true
	}
	theme := table[1]
	if !d.named(theme) {
		return false
	}
	if d.config.Themes[theme.name] == nil {
		put(&d.config.Themes, theme.name, Theme{})
		d.config.from.note(theme.at, names(table)...)
	}
	return true
}

// put sets an entry of a map that may not be there yet.
func put[V any](m *map[string]V, key string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = v
}

// pair takes in a key and its value, or each of the values of an inline table.
func (d *document) pair(table []part, e *unstable.Node) {
	key := append(slices.Clip(table), parts(e)...)
	n := e.Value()
	inner := isTable(names(key))
	switch {
	case inner && n.Kind == unstable.InlineTable:
		if !d.begin(key) {
			return
		}
		for it := n.Children(); it.Next(); {
			d.pair(key, it.Node())
		}
	case inner:
		d.fault(key[len(key)-1].at, "%s is a table: want [%s] on a line of its own, and settings below it", quoted(path(key)), path(key))
	default:
		d.set(key, d.value(n, d.valueAt(e), 0))
	}
}

// valueAt is where the value of a pair begins: lists do not know it themselves.
func (d *document) valueAt(e *unstable.Node) int {
	at := 0
	for it := e.Key(); it.Next(); {
		raw := it.Node().Raw
		at = int(raw.Offset + raw.Length)
	}
	for at < len(d.data) && strings.IndexByte(" \t=", d.data[at]) >= 0 {
		at++
	}
	return at
}

// value copies a value out of the parser, which forgets it. No setting is a list of
// lists, so that nothing has to be copied below the second level.
func (d *document) value(n *unstable.Node, at, depth int) value {
	if n.Raw.Length > 0 {
		at = int(n.Raw.Offset)
	}
	v := value{kind: n.Kind, text: string(n.Data), at: at}
	if n.Kind == unstable.String {
		v.same = at+1+len(v.text) < len(d.data) && string(d.data[at+1:at+1+len(v.text)]) == v.text
	}
	if n.Kind == unstable.Array && depth == 0 {
		for it := n.Children(); it.Next(); {
			v.list = append(v.list, d.value(it.Node(), at, depth+1))
		}
	}
	return v
}

// set takes in one setting.
func (d *document) set(key []part, v value) {
	switch {
	case key[0].name == "keys" && len(key) == 2:
		d.setKeys(key, v)
	case key[0].name == "filters" && len(key) == 2:
		d.setFilter(key, v)
	case key[0].name == "themes" && len(key) == 3:
		d.setStyle(key, v)
	default:
		d.setField(key, v)
	}
}

func (d *document) setField(key []part, v value) {
	s := find(names(key))
	if s == nil {
		d.unknown(key)
		return
	}
	d.config.from.note(v.at, names(key)...)
	s.read(d, v)
}

// unknown reports the first part of a key that is nothing, or is no table.
func (d *document) unknown(key []part) {
	for i, p := range key {
		above := names(key[:i])
		switch {
		case i < len(key)-1 && isTable(names(key[:i+1])):
			continue
		case find(names(key[:i+1])) != nil || isTable(above) && len(below(above)) == 0:
			d.fault(p.at, "%s is not a table", quoted(path(key[:i+1])))
		default:
			d.fault(p.at, "unknown key %s%s", quoted(path(key[:i+1])), guess(p.name, below(above)))
		}
		return
	}
}

// named holds the name of a thing against CheckName.
func (d *document) named(p part) bool {
	err := CheckName(p.name)
	if err != nil {
		d.fault(p.at, "%v", err)
	}
	return err == nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
