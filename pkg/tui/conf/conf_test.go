package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"tracker/pkg/filter"
	"tracker/pkg/tui/look"
	"tracker/pkg/tui/tuitest"
)

// same is a config without the file that it is out of.
func same(c *Config) Config {
	copied := *c
	copied.from = nil
	return copied
}

func parse(t testing.TB, text string) *Config {
	t.Helper()
	c, _, err := Parse("map.toml", []byte(text), some)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const everything = `
theme = "night"
glyphs = "block"
layout = 'panes'
fps = 0x1e
stale = "90s"
lost = "1h"
colour = "battery"
trails = "off"
mouse = false
overlays = ["harbour.geojson", "/srv/zones.json", 'a\b"c.json']
open = "https://example.org/#{z}/{lat}/{lon}?d={id}"
time.step = "1m30s"

[battery]
low = 20

[filters]
late = "a \"quoted\" name"

[keys]
quit = ["Q", "ctrl+q"]
left = "a"
in = []

[themes.night]
base = "dark"
land = "#101820"
moving = "bold 120"
"trail-old" = "default"
[themes]
plain = { base = "mono" }
`

func TestEverythingThatCanBeSetIsRead(t *testing.T) {
	c, k, err := Parse("/home/me/map.toml", []byte(everything), some)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Theme: "night", Glyphs: "block", Layout: "panes", FPS: 30, Stale: 90 * time.Second, Lost: time.Hour,
		Colour: "battery", Trails: "off", Overlays: []string{"/home/me/harbour.geojson", "/srv/zones.json", `/home/me/a\b"c.json`},
		Open:    "https://example.org/#{z}/{lat}/{lon}?d={id}",
		Filters: map[string]string{"late": `a "quoted" name`},
		Keys:    map[string][]string{"quit": {"Q", "ctrl+q"}, "left": {"a"}, "in": {}},
		Themes: map[string]Theme{
			"night": {"base": "dark", "land": "#101820", "moving": "bold 120", "trail-old": "default"},
			"plain": {"base": "mono"},
		},
	}
	want.Time.Step, want.Battery.Low = 90*time.Second, 20
	if got := same(c); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	for key, want := range map[string]string{"ctrl+q": "quit", "a": "left", "+": "", "q": ""} {
		if got, _ := k.Action(key); got != want {
			t.Errorf("%s does %q, want %q", key, got, want)
		}
	}
}

func TestWhoSetsNothingHasTheDefaults(t *testing.T) {
	c, k, err := Load("", some)
	if err != nil || !reflect.DeepEqual(same(c), *Defaults()) {
		t.Errorf("%+v, %v, want %+v", c, err, Defaults())
	}
	if name, _ := k.Action("q"); name != "quit" {
		t.Errorf("q does %q", name)
	}
	for _, empty := range []string{"", "# nothing\n", "\ufeff", "\r\n[keys]\r\n"} {
		if got := same(parse(t, empty)); !reflect.DeepEqual(got, *Defaults()) {
			t.Errorf("%q: %+v", empty, got)
		}
	}
}

func TestSettingsThatArePrintedReadBackTheSame(t *testing.T) {
	for name, c := range map[string]*Config{"defaults": Defaults(), "everything": parse(t, everything)} {
		printed := c.TOML()
		if got := same(parse(t, string(printed))); !reflect.DeepEqual(got, same(c)) {
			t.Errorf("%s: got\n%+v\nwant\n%+v\nby way of\n%s", name, got, same(c), printed)
		}
		tuitest.Golden(t, "print-"+name, string(printed))
	}
}

func TestKeysThatArePrintedReadBackTheSame(t *testing.T) {
	_, k, err := Parse("", []byte(everything), some)
	if err != nil {
		t.Fatal(err)
	}
	_, again, err := Parse("", k.TOML(), some)
	if err != nil || !reflect.DeepEqual(again.Rows(), k.Rows()) || !reflect.DeepEqual(again.action, k.action) {
		t.Errorf("%v: got\n%+v\nwant\n%+v\nby way of\n%s", err, again, k, k.TOML())
	}
}

// broken are files with a mistake or more, each with why somebody would write it.
var broken = []tuitest.Broken{
	{"no value", "theme =\n"},
	{"no quotes", "stale = 20s\n"},
	{"no end of a string", "# ü\ncolour = \"state\n"},
	{"control character", "colour = \"a\x01\"\n"},
	{"not UTF-8", "colour = \"\xff\"\n"},
	{"after other letters", "keys = { left = \"ü\", right = 5 }\n"},
	{"no TOML after other letters", "keys.left = \"ü\" x\n"},
	{"key twice", "fps = 5\nmouse = true\nfps = 6\n"},
	{"key twice in a table", "keys = { quit = \"x\", quit = \"y\" }\n"},
	{"table twice", "[keys]\n[filters]\n[keys]\n"},
	{"two settings in a line", "fps = 5 mouse = true\n"},
	{"list without end", "overlays = [\"a\",\n"},
	{"unknown key", "colour_by = \"age\"\n"},
	{"unknown key, nothing near", "dinner = \"soup\"\n"},
	{"unknown key in a table", "[time]\nstep = \"5s\"\nsteps = \"6s\"\n"},
	{"unknown table, told once", "[colours]\na = 1\nb = 2\n\n[theme]\nx = 1\n"},
	{"list of tables", "[[keys]]\nquit = \"q\"\n"},
	{"table as a value", "filters = \"late\"\ntime = 5\nthemes.night = \"dark\"\n"},
	{"value as a table", "theme = { name = \"dark\" }\n[filters.late]\nstate = \"x\"\n"},
	{"too deep", "[themes.a.b.c]\nx = 1\n[themes.d]\nmoving.x = \"red\"\n"},
	{"wrong kinds", "theme = 1\nfps = \"ten\"\nmouse = \"yes\"\nstale = 5\nopen = [\"a\"]\nfilters.x = 2020-01-02\noverlays = true\ntime.step = 1.5\nbattery.low = {}\n"},
	{"out of range", "fps = 0\nbattery.low = 100\nstale = \"1ms\"\nlost = \"9000h\"\ntime.step = \"-5s\"\n"},
	{"a number too large", "fps = 99999999999999999999\n"},
	{"no such choice", "theme = \"drak\"\nglyphs = \"brail\"\nlayout = \"wide\"\ncolour = \"Speed\"\ntrails = \"none\"\n"},
	{"no such time", "stale = \"5 minutes\"\n"},
	{"lost before stale", "stale = \"20m\"\n"},
	{"lost before stale, both set", "stale = \"20m\"\nlost = \"19m\"\n"},
	{"names nobody can show", "[filters]\n\"\\u001b[2J\" = \"a\"\n\"\" = \"b\"\n[themes.\"sch\u00f6n\"]\nmoving = \"red\"\n"},
	{"filter of the registry", "filters.old = \"van status:revoked\"\n"},
	{"empty strings", "overlays = [\"a\", \"\"]\n[keys]\nquit = \"\"\nleft = [\"a\", \"\"]\n"},
	{"a nul in a file name", "overlays = \"a\\u0000b\"\n"},
	{"no address", "open = \"javascript:alert(1)\"\n"},
	{"no such place", "open = \"https://example.org/{lat}/{long}\"\n"},
	{"no such place, escaped", "open = \"https://example.org/\\u007blong}\"\n"},
	{"no such action", "[keys]\nquit = \"x\"\nleave = \"y\"\nlfet = \"z\"\n"},
	{"keys that clash", "[keys]\nleft = [\"a\", \"b\"]\nright = [\"b\"]\nin = \"q\"\nout = [\"-\", \"-\"]\n"},
	{"nothing quits", "[keys]\nleft = \"x\"\nquit = []\n"},
	{"keys that no terminal sends", "keys.left = [\"crtl+c\", \"shift+ctrl+a\", \"ctrl+A\", \"shift+a\", \"ctrl+i\", \"escape\", \" \", \"f99\", \"ctrl+\"]\n"},
	{"no such style", "[themes.a]\nmovin = \"red\"\nmoving = \"red\"\n"},
	{"no such colour", "[themes.a]\nbase = \"drak\"\n[themes.b]\nmoving = \"pink\"\nidle = \"300\"\nlost = \"red green\"\nstale = \"\"\nalert = \"#12345\"\nland = \"bold red\"\nrow = \"on\"\ncity = \"bright-rde\"\n"},
	{"states alike", "[themes.a]\nmoving = \"red\"\nlost = \"red\"\n"},
	{"hard to read", "[themes.a]\nbase = \"dark\"\nlost = \"#301010\"\nalert = \"#ff0000 on #ee1111\"\n[themes.b]\nbase = \"light\"\nland = \"#d75f00\"\n"},
	{"a name that is taken", "[themes.dark]\nmoving = \"red\"\n"},
}

func TestBrokenFilesAreToldWithTheirPlaces(t *testing.T) {
	tuitest.Mistakes(t, broken, func(text string) error {
		c, k, err := Parse("map.toml", []byte(text), some)
		if c != nil || k != nil {
			t.Errorf("%v, %v beside %v", c, k, err)
		}
		checkMistakes(t, err)
		return err
	})
}

// checkMistakes holds that errors can be printed, and are of the kind that was promised.
func checkMistakes(t testing.TB, err error) {
	t.Helper()
	all, ok := err.(interface{ Unwrap() []error })
	list := []error{err}
	if ok {
		list = all.Unwrap()
	}
	for _, err := range list {
		var m *Mistake
		if !errors.As(err, &m) || m.File != "map.toml" || m.Msg == "" {
			t.Errorf("%#v is no mistake in map.toml", err)
		}
		if strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("%q cannot be printed", err)
		}
	}
}

func TestFiltersAreHeldAgainstTheirGrammar(t *testing.T) {
	const bad = `speed>fast )`
	_, err := filter.Parse(bad)
	var want *filter.Error
	if !errors.As(err, &want) {
		t.Fatalf("%q is a filter: %v", bad, err)
	}
	_, _, got := Parse("map.toml", []byte("[filters]\nx = '"+bad+"'\n"), some)
	if at := fmt.Sprintf("map.toml:2:%d: filter: %s", 6+want.At, want.Msg); got == nil || !strings.HasPrefix(got.Error(), at) {
		t.Errorf("got %v, want %s", got, at)
	}
}

func TestOfVeryManyMistakesSomeAreTold(t *testing.T) {
	var text strings.Builder
	for i := range 120 {
		fmt.Fprintf(&text, "nothing%d = 1\n", i)
	}
	_, _, err := Parse("map.toml", []byte(text.String()), some)
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxMistakes+1 || lines[maxMistakes] != "map.toml: and 70 mistakes more" {
		t.Errorf("%d lines, the last %s", len(lines), lines[len(lines)-1])
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Load(filepath.Join(dir, "none.toml"), some); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, _, err := Load(dir, some); err == nil {
		t.Error("a directory was read")
	}
	large := filepath.Join(dir, "large.toml")
	if err := os.WriteFile(large, []byte(strings.Repeat("#\n", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	var m *Mistake
	if _, _, err := Load(large, some); !errors.As(err, &m) || m.Msg != "the file is larger than 256 KiB" {
		t.Errorf("a large file: %v", err)
	}
}

func TestWhereTheFileIs(t *testing.T) {
	dir := t.TempDir()
	none := func(string) string { return "" }
	set := func(name string) string { return map[string]string{"TRACK_MAP_CONFIG": "env.toml"}[name] }
	file := filepath.Join(dir, "map.toml")
	if got := Where("", none, dir); got != "" {
		t.Errorf("%q, and there is no such file", got)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		flag   string
		getenv func(string) string
		dir    string
		want   string
	}{
		{"flag.toml", set, dir, "flag.toml"}, {"", set, dir, "env.toml"}, {"", none, dir, file}, {"", none, "", ""},
	} {
		if got := Where(tt.flag, tt.getenv, tt.dir); got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.flag, tt.dir, got, tt.want)
		}
	}
}

func TestOverlaysAreLookedForBesideTheFile(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	for name, want := range map[string]string{
		"a.json": "conf/a.json", "../a.json": "a.json", "/x/../a.json": "/a.json", "~/a.json": "/home/me/a.json", "~a.json": "conf/~a.json",
		"../~/a.json": "./~/a.json",
	} {
		c, _, err := Parse("conf/map.toml", []byte("overlays = '"+name+"'"), some)
		if err != nil || !reflect.DeepEqual(c.Overlays, []string{want}) {
			t.Errorf("%s: %v, %v, want %s", name, c, err, want)
		}
	}
}

func TestPlacesOfAnAddressAreFilledIn(t *testing.T) {
	c := parse(t, `open = "https://example.org/#{z}/{lat}/{lon}?d={id}"`)
	if got, want := c.URL(48.5, -13.25, 11.4, "a b&c"), "https://example.org/#11/48.500000/-13.250000?d=a+b%26c"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := Defaults().URL(1, 2, 3, "x"); got != "" {
		t.Errorf("%q, and nothing is set", got)
	}
}

func TestThemesAreMadeOfWords(t *testing.T) {
	c := parse(t, `
[themes.mine]
base = "dark"
text = "default"
moving = "bold bright-green"
idle = "208"
lost = "underline dim #FF0080"
alert = "bright-white on red"
row = "on bright-blue"
picked = "reverse"
land = "17"
[themes.flat]
base = "light"
land = "default"
`)
	mine, err := c.Look("mine")
	if err != nil {
		t.Fatal(err)
	}
	dark, _ := look.Named("dark")
	for _, tt := range []struct{ got, want string }{
		{mine.Name, "mine"},
		{mine.FG[look.Text], ""},
		{mine.FG[look.Moving], "1;92"},
		{mine.FG[look.Idle], "38;5;208"},
		{mine.FG[look.Lost], "4;2;38;2;255;0;128"},
		{mine.FG[look.Alert], "97;41"},
		{mine.FG[look.Row], "48;5;12"},
		{mine.FG[look.Picked], "7"},
		{mine.BG[look.Land], "48;5;17"},
		{mine.FG[look.Stale], dark.FG[look.Stale]},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	if flat, err := c.Look("flat"); err != nil || flat.Land || flat.BG[look.Land] != "" {
		t.Errorf("%+v, %v: land is still a ground", flat, err)
	}
	if again, _ := look.Named("dark"); !reflect.DeepEqual(again, dark) {
		t.Error("a theme changed the one that it is based on")
	}
	if system, err := c.Look(""); err != nil || system.Name != "system" {
		t.Errorf("%v, %v", system, err)
	}
}

func TestThemesThatAreBuiltInAreLegible(t *testing.T) {
	for _, name := range look.Names {
		theme, _ := look.Named(name)
		if wrong := legible(theme, Theme{"base": name}); len(wrong) > 0 {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

func TestStylesAllHaveNames(t *testing.T) {
	seen := map[string]int{}
	for s, name := range styleNames {
		if other, twice := seen[name]; twice || name == "" {
			t.Errorf("styles %d and %d are called %q", other, s, name)
		}
		seen[name] = s
	}
}

func TestColoursAreReadAsTheyAreWritten(t *testing.T) {
	for _, text := range []string{"red", "bright-red", "black on white", "7 on bright-cyan", "#010203 on #fffefd", "bold 255", "default on 16"} {
		p, err := parsePaint(text)
		if err != nil {
			t.Fatal(err)
		}
		in, on := unsgr(p.sgr())
		if on.kind == numberedColour && on.number < 16 {
			on.kind = namedColour // as bright grounds are sent
		}
		if in != p.in || on != p.on {
			t.Errorf("%s: %+v on %+v, want %+v", text, in, on, p)
		}
	}
}

func TestContrastIsThatOfTheStandard(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want string
	}{
		{"#000000", "#ffffff", "21.0"}, {"#777777", "#ffffff", "4.5"}, {"#ff0000", "#ffffff", "4.0"},
		{"231", "16", "21.0"}, {"#bcbcbc", "250", "1.0"}, {"red", "#ffffff", "21.0"},
	} {
		a, _ := parseColour(tt.a)
		b, _ := parseColour(tt.b)
		if got := fmt.Sprintf("%.1f", contrast(a, b)); got != tt.want {
			t.Errorf("%s on %s: %s, want %s", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestNamesThatAreNearAreGuessed(t *testing.T) {
	known := []string{"colour", "trails", "theme", "fps"}
	for name, want := range map[string]string{
		"color": "colour", "colour_by": "colour", "themes": "theme", "tehme": "theme", "fp": "fps", "trials": "trails",
		"": "", "x": "", "elsewhere": "", strings.Repeat("colour", 20): "",
	} {
		if want != "" {
			want = `; did you mean "` + want + `"?`
		}
		if got := guess(name, known); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(everything))
	f.Add(Defaults().TOML())
	for _, b := range broken {
		f.Add([]byte(b.Text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, k, err := Parse("map.toml", data, some)
		if err != nil {
			checkMistakes(t, err)
			return
		}
		again, keys, err := Parse("map.toml", c.TOML(), some)
		if err != nil {
			t.Fatalf("what was printed is wrong: %v\n%s", err, c.TOML())
		}
		if !reflect.DeepEqual(same(again), same(c)) || !reflect.DeepEqual(keys.action, k.action) {
			t.Errorf("got\n%+v\nwant\n%+v", same(again), same(c))
		}
	})
}
