package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"tracker/pkg/geo"
	"tracker/pkg/track"
)

// fleet is a handful of devices that differ in everything. Tables call them by letters.
var fleet = map[rune]*Subject{
	'a': {
		ID: 0x09c4f1d2e3a4, Name: "van-1", State: Moving, Age: 2 * time.Second, At: geo.Deg(48.137, 11.575),
		Has:   track.HasPos | track.HasVel | track.HasAlt | track.HasBat | track.HasAcc,
		Speed: 25, Course: 10, Alt: 519, Battery: 81, Accuracy: 6, Status: "active",
	},
	'b': {
		ID: 0x09c4000000ff, Name: "Bus 7", State: Idle, Age: 40 * time.Second, At: geo.Deg(52.52, 13.405),
		Has: track.HasPos | track.HasVel | track.HasBat, Battery: 20, Power: true, Event: "motion_stop", Status: "active",
	},
	'c': {
		ID: 0xc00000000001, Name: "Schiff ÄRGER *", State: Lost, Age: 20 * time.Minute, At: geo.Deg(-17.7, 179.9),
		Has: track.HasPos | track.HasVel | track.HasAlt, Speed: 10 * 1852. / 3600, Course: 350.25, Alt: -3,
		Event: "low_battery", Jump: true, Status: "active",
	},
	'd': {
		ID: 0xd00000000001, Name: "phone-ana", State: Alert, Age: 3 * time.Minute, Has: track.HasBat, Battery: 12,
		Event: "sos", Suspect: true, Status: "active",
	},
	'e': { // enrolled, and never heard
		ID: 0x09c4f1d2e3a5, Name: "09c4f1d2e3a5", State: Lost, Age: Never, Status: "revoked",
		Alarms: []string{"clone_suspected", "epoch_future"},
	},
	'f': {
		ID: 0xffffffffffff, Name: "VAN-12", State: Stale, Age: 5 * time.Minute, At: geo.Deg(0, -180), Has: track.HasPos, Late: true,
		Event: "event_9", Status: "revoked", Alarms: []string{"auth_flood"},
	},
}

// meant is the letters of the devices that a filter means.
func meant(f *Filter) string {
	var b strings.Builder
	for r := 'a'; r <= 'f'; r++ {
		if f.Match(fleet[r]) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestMatch(t *testing.T) {
	for text, want := range map[string]string{
		"":     "abcdef",
		"  \t": "abcdef",

		// Text is somewhere in the name.
		"van":            "af",
		"VAN-1":          "af",
		"1":              "aef",
		"n-1 v":          "af",
		"ärger":          "c",
		"arger":          "",
		"bus 7":          "b",
		`"bus 7"`:        "b",
		`"7 bus"`:        "",
		`""`:             "abcdef",
		`"*"`:            "c",
		"*":              "abcdef",
		"v*1":            "af",
		"v?n":            "af",
		"?????????????":  "c",
		"r *":            "c",
		"/^van/":         "af",
		"/N-1$/":         "a",
		`/\d{2}$/`:       "f",
		`/a|7/`:          "abdef",
		`/\//`:           "",
		"//":             "abcdef",
		"09c4f1d2e3a4":   "a",
		"09C4F1D2E3A4":   "a",
		`"09c4f1d2e3a4"`: "",
		"09c4f1d2e3a5":   "e",
		"c4f1d2":         "e",
		"10:30":          "",
		"a,b":            "",
		"van-1:":         "",

		// Words, together.
		"van 2":                     "f",
		"van|bus":                   "abf",
		"van | bus 7":               "abf",
		"(van | bus) 7":             "b",
		"(van|bus)7":                "b",
		"!van":                      "bcde",
		"! van":                     "bcde",
		"!!van":                     "af",
		"!(van|bus)":                "cde",
		"van !(van !12)":            "f",
		"!van !bus !ana":            "ce",
		"((((bus))))":               "b",
		"state:moving|state:idle 7": "ab",

		// Names and ids.
		"name:van-1":              "a",
		"name:VAN-1":              "a",
		"name=van":                "",
		"name:van-*":              "af",
		"name:van-?":              "a",
		"name:van-??":             "f",
		"name:*a":                 "d",
		"name:*":                  "abcdef",
		"name:**":                 "abcdef",
		`name:"*"`:                "",
		`name:"bus 7",van-1`:      "ab",
		`name:"schiff ärger *"`:   "c",
		"name:*ä*":                "c",
		"name!=van-*,bus*":        "cde",
		`name:/^.$/,/\s/`:         "bc",
		`name!=/\s/`:              "adef",
		"Name:van-1":              "a",
		"id:09c4f1d2e3a4":         "a",
		"id:09C4F1D2E3A4":         "a",
		"id:09c4*":                "abe",
		"id:09c4f1d2e3a*":         "ae",
		"id:09c4f1*,09c4*,d*":     "abde",
		"id:*":                    "abcdef",
		"id:ffffffffffff,c0*":     "cf",
		"id!=09c4*":               "cdf",
		"id:000000000000":         "",
		"id:09c4f1d2e3a3,09c4f2*": "",

		// States and the like.
		"state:moving":             "a",
		"state:MOVING,idle":        "ab",
		"state=lost":               "ce",
		"state!=lost,alert":        "abf",
		"event:sos":                "d",
		"event:SOS,low_battery":    "cd",
		"event:*":                  "bcdf",
		"event!=*":                 "ae",
		"event:event_9":            "f",
		"!event:sos":               "abcef",
		"event!=sos":               "abcef",
		"power:yes":                "b",
		"power:no":                 "acdef",
		"power!=yes":               "acdef",
		"is:jump":                  "c",
		"is:jump,late,suspect":     "cdf",
		"is:placed":                "abcf",
		"!is:placed":               "de",
		"is!=placed,suspect":       "e",
		"status:active":            "abcd",
		"status:revoked,active":    "abcdef",
		"status!=revoked":          "abcd",
		"alarm:clone_suspected":    "e",
		"alarm:*":                  "ef",
		"alarm:auth_flood,nothing": "f",
		"alarm!=*":                 "abcd",

		// Numbers. What is not known is neither equal nor unequal, neither more nor less.
		"speed>=0":                 "abc",
		"speed>0":                  "ac",
		"speed>90":                 "",
		"speed>=90":                "a",
		"speed<=90km/h":            "abc",
		"speed<90":                 "bc",
		"speed:90":                 "a",
		"speed:90.4":               "",
		"speed=10kn":               "c",
		"speed:18..20":             "c",
		"speed:10..20kn":           "c",
		"speed!=90":                "bc",
		"!speed:90":                "bcdef",
		"speed>25mps":              "",
		"speed>24.9m/s":            "a",
		"speed:56MPH":              "a",
		"speed:0,90":               "ab",
		"age<5s":                   "a",
		"age<60":                   "ab",
		"age>30s age<10m":          "bdf",
		"age:3m":                   "d",
		"age:2m..5m":               "df",
		"age:2..5m":                "df",
		"age:1d..":                 "e",
		"age>=20m":                 "ce",
		"age>19m59s":               "ce",
		"age<=0.05h":               "abd",
		"age:..40s":                "ab",
		"battery<20":               "d",
		"battery<=20%":             "bd",
		"battery>20":               "a",
		"battery!=20":              "ad",
		"battery:12,20":            "bd",
		"battery<20|battery>=20":   "abd",
		"!battery<20":              "abcef",
		"alt>500":                  "a",
		"alt<0":                    "c",
		"alt:-3":                   "c",
		"alt:-10..-1":              "c",
		"alt:1700..1710ft":         "a",
		"alt>0.5km":                "a",
		"alt:100000000.000000001":  "",
		"acc<=6":                   "a",
		"acc<6":                    "",
		"acc:20ft":                 "a",
		"course:350..20":           "abc",
		"course:20..350":           "",
		"course:10":                "a",
		"course:0":                 "b",
		"course:360°":              "b",
		"course:350":               "c",
		"course!=350..0":           "a",
		"lat>0":                    "ab",
		"lat:47..53":               "ab",
		"lat:48.1":                 "a",
		"lat:48":                   "a",
		"lat<-17":                  "c",
		"lon:170..-170":            "cf",
		"lon:180":                  "cf",
		"lon:-180":                 "cf",
		"lon:180.0":                "f",
		"lon:11..14":               "ab",
		"lon:179..180":             "cf",
		"lon>=180":                 "f",
		"lon!=11..14":              "cf",
		"bbox:47.2,5.8,55.1,15.1":  "ab",
		"bbox:-20,170,5,-170":      "cf",
		"bbox!=47.2,5.8,55.1,15.1": "cf",
		"!bbox:47.2,5.8,55.1,15.1": "cdef",
		"near:48.1,11.6,5km":       "a",
		"near:48.1,11.6,400m":      "",
		"near:48.1,11.6,400nmi":    "ab",
		"near:-17.7,-179.9,30km":   "c",
		"near!=48.1,11.6,5km":      "bcf",
		"near:90,0,10000km":        "ab",
	} {
		f, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := meant(f); got != want {
			t.Errorf("%s (%v): got %q, want %q", text, f, got, want)
		}
	}
}

func TestNoFilterMeansAll(t *testing.T) {
	var none *Filter
	for _, f := range []*Filter{none, {}} {
		if !f.Match(&Subject{}) || f.String() != "" || f.Uses() != 0 {
			t.Errorf("%#v does not mean all", f)
		}
	}
}

func TestFormsOfOneFilterHaveOneText(t *testing.T) {
	for in, want := range map[string]string{
		"  van   7 ":              "van 7",
		"a|b|c":                   "a | b | c",
		"(a|b)|c d":               "a | b | c d",
		"(a b) (c (d))":           "a b c d",
		"(a|b)c":                  "(a | b) c",
		"!(a b)":                  "!(a b)",
		"!(a)":                    "!a",
		"!(!(a))":                 "a",
		"!!!a":                    "!a",
		"SPEED=90,10..20":         "speed:90,10..20",
		`"van"`:                   "van",
		`"va n"`:                  `"va n"`,
		`"v\"\\\x"`:               `"v\"\\\\x"`,
		`"van*"`:                  `"van*"`,
		`"09c4f1d2e3a4"`:          `"09c4f1d2e3a4"`,
		`"09C4F1D2E3A4"`:          `"09C4F1D2E3A4"`,
		`name:"a","b c",/d\/\.e/`: `name:a,"b c",/d\/\.e/`,
		`name:""`:                 `name:""`,
		`"state:idle"`:            `"state:idle"`,
		`name:"!x"`:               `name:"!x"`,
	} {
		f, err := Parse(in)
		if err != nil || f.String() != want {
			t.Errorf("%s: got %v, %v, want %s", in, f, err, want)
			continue
		}
		if again, err := Parse(want); err != nil || again.String() != want {
			t.Errorf("%s again: %v, %v", want, again, err)
		}
	}
}

func TestUses(t *testing.T) {
	for in, want := range map[string]Parts{
		"van":                     Names,
		"id:09c4*":                Names,
		"speed>3 near:1,2,3km":    Numbers,
		"state:idle":              Numbers | Clock,
		"van|!(age>5m power:yes)": Names | Numbers | Clock,
		"status:active|alarm:*":   Registry,
	} {
		f, err := Parse(in)
		if err != nil || f.Uses() != want {
			t.Errorf("%s: got %b, %v, want %b", in, f.Uses(), err, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]struct {
		at  int
		say string
	}{
		"(van":                  {0, "there is no ) for this ("},
		"van (a|(b)":            {4, "there is no ) for this ("},
		"van)":                  {3, "there is no ( for this )"},
		"()":                    {1, "something is missing here"},
		"a | ":                  {4, "something is missing here"},
		"|a":                    {0, "something is missing here"},
		"a !":                   {3, "something is missing here"},
		`a "b`:                  {2, "there is no second \" for this one"},
		`"a\"`:                  {0, "there is no second \" for this one"},
		"a /b":                  {2, "there is no second / for this regular expression"},
		`"a"b`:                  {3, "this follows too close"},
		"/a/i":                  {3, "this follows too close"},
		"a /(/":                 {2, "this is no regular expression, missing closing )"},
		"name:/[/":              {5, "this is no regular expression, missing closing ]"},
		"van colour:red":        {4, `there is no key "colour"`},
		"http://x":              {0, `there is no key "http"`},
		"speed>":                {6, "there is nothing to compare speed with"},
		"speed:1,,2":            {8, "there is nothing to compare speed with"},
		"speed > 9":             {6, "there is no key right before this"},
		"speed> 9":              {6, "there is nothing to compare speed with"},
		"=9":                    {0, "there is no key right before this"},
		"name:(a)":              {5, "there is nothing to compare name with"},
		"speed>>9":              {6, "this is no operator"},
		"name:!a":               {5, "this is no operator"},
		"name>a":                {4, "name cannot be compared by >"},
		"bbox<=1,2,3,4":         {4, "bbox cannot be compared by <="},
		"speed>1,2":             {8, "> compares with one number"},
		"speed>1..2":            {6, `speed cannot be "1..2"`},
		"speed:fast":            {6, `speed cannot be "fast"`},
		"speed:1,fast":          {8, `speed cannot be "fast"`},
		"speed:90kmx":           {6, `speed cannot be "90kmx"`},
		"speed:-1":              {6, `speed cannot be "-1"`},
		"speed:1e3":             {6, `speed cannot be "1e3"`},
		"speed:NaN":             {6, `speed cannot be "NaN"`},
		"speed:0x10":            {6, `speed cannot be "0x10"`},
		"speed:1.":              {6, `speed cannot be "1."`},
		"speed:..":              {6, "this range has no end"},
		"speed:20..10":          {6, "the range 20..10 runs backwards"},
		"speed:20..1O":          {10, `speed cannot be "1O"`},
		"speed:9999999999999":   {6, `speed cannot be "9999999999999"`},
		"speed:/9/":             {6, "speed cannot be a regular expression"},
		"age:1h30":              {4, `age cannot be "1h30"`},
		"age:5 m:1":             {6, `there is no key "m"`},
		"battery:101":           {8, `battery cannot be "101"`},
		"course:361":            {7, `course cannot be "361"`},
		"lat:91":                {4, `lat cannot be "91"`},
		"lon:170..181":          {9, `lon cannot be "181"`},
		"id:van":                {3, `"van" is no id`},
		"id:09c4":               {3, `"09c4" is no id`},
		"id:09c4f1d2e3a4*":      {3, `"09c4f1d2e3a4*" is no id`},
		"state:idle,movin":      {11, `there is no state "movin"`},
		"state:active":          {6, `there is no state "active"`},
		"event:boom":            {6, `there is no event "boom"`},
		"power:maybe":           {6, `power cannot be "maybe"`},
		"power:yes,no":          {10, "power is either"},
		"is:late,early":         {8, `nothing is "early"`},
		"status:gone":           {7, `there is no status "gone"`},
		"bbox:1,2,3":            {5, "bbox compares with 4 numbers, not 3"},
		"bbox:1,2,3,x":          {11, `bbox cannot be "x"`},
		"bbox:5,2,3,4":          {5, "south 5 is north of north 3"},
		"near:48.1,11.6":        {5, "near compares with two coordinates and a distance"},
		"near:48.1,11.6,5":      {15, `near cannot be "5"`},
		"near:48.1,11.6,0.5deg": {15, `near cannot be "0.5deg"`},
		"near:Passau,20km,1km":  {5, `near cannot be "Passau"`},
		"a\x00":                 {1, "a control character cannot be looked for"},
		"ab\x1b[2J":             {2, "a control character cannot be looked for"},
		"ä\xff":                 {2, "this is not UTF-8"},
	} {
		f, err := Parse(text)
		var e *Error
		if !errors.As(err, &e) || f != nil {
			t.Errorf("%q: got %v, %v", text, f, err)
			continue
		}
		if e.At != want.at || e.Msg != want.say || e.Text != text {
			t.Errorf("%q: got %d %s, want %d %s", text, e.At, e.Msg, want.at, want.say)
		}
	}
}

func TestErrorPointsAtTheMistake(t *testing.T) {
	_, err := Parse("näme speed>fast")
	want := `speed cannot be "fast": want a speed such as 90 (km/h), 25mps, 40kn or 60mph
  näme speed>fast
             ^`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestErrorOfALongFilterShowsWhereItIs(t *testing.T) {
	_, err := Parse(strings.Repeat("van\t", 1000) + "\x1b" + strings.Repeat(" bus", 1000))
	want := "a control character cannot be looked for\n" +
		"  …" + strings.Repeat("van ", 15) + "\ufffd" + strings.Repeat(" bus", 15)[:59] + "…\n" +
		"  " + strings.Repeat(" ", 61) + "^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestWhatWouldCostTooMuchIsRefused(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("(", n) + "a" + strings.Repeat(")", n) }
	for name, tt := range map[string]struct{ text, say string }{
		"a pasted megabyte":      {strings.Repeat("van ", 1<<18), "this filter is too long"},
		"deep":                   {deep(maxDepth + 1), "there are more than 64 parentheses within one another"},
		"deep and never closed":  {strings.Repeat("!(", maxText/2), "there are more than 64 parentheses within one another"},
		"many words":             {strings.Repeat("a ", maxTests+1), "this asks for more than 256 things"},
		"many values":            {"name:a" + strings.Repeat(",a*", maxTests), "this asks for more than 256 things"},
		"many patterns":          {strings.Repeat("/a/ ", maxPatterns+1), "there are more than 16 regular expressions"},
		"a long pattern":         {"/" + strings.Repeat("a", maxPattern+1) + "/", "this regular expression is too long"},
		"a pattern that repeats": {"/((ab){30}){30}/", "this regular expression repeats too much"},
		"a pattern without end":  {"/(ab){600,}/", "this regular expression repeats too much"},
		"a wide pattern":         {`/(\pL{500}|x){2}/`, "this regular expression repeats too much"},
	} {
		_, err := Parse(tt.text)
		var e *Error
		if !errors.As(err, &e) || e.Msg != tt.say {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"deep":     deep(maxDepth),
		"side":     strings.Repeat("(a)", 100),
		"ids":      "id:" + strings.Repeat("09c4f1d2e3a4,", 5000)[:5000*13-1],
		"nots":     strings.Repeat("!", maxText-1) + "a",
		"patterns": strings.Repeat("/a{100}/ ", maxPatterns),
	} {
		if f, err := Parse(text); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if _, err := Parse(f.String()); err != nil {
			t.Errorf("%s again: %v", name, err)
		}
	}
}

func TestEveryKeyHasAnExampleThatParses(t *testing.T) {
	for _, k := range Keys {
		f, err := Parse(strings.ReplaceAll(k.Example, " or ", "|"))
		if err != nil || !strings.Contains(f.String(), k.Name) || k.Help == "" {
			t.Errorf("%s: %v, %v", k.Name, f, err)
		}
	}
}

// Regular expressions borrow their memory from a pool, which the race detector drains.
func TestMatchAllocatesNothing(t *testing.T) {
	for _, text := range expensive {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(100, func() {
			for _, s := range fleet {
				f.Match(s)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}

var expensive = []string{
	"nowhere",
	"name:*x*y*z,*ärger*",
	"id:09c4*,d*,e00000000000",
	"state:idle|event:tamper|alarm:nothing|is:late|status:active",
	"speed>30 age<5m battery:10..20 course:350..10",
	"!(near:48.1,11.6,500km|bbox:1,2,3,4|lat:1..2|lon:170..-170)",
}

func FuzzParse(f *testing.F) {
	for _, text := range append(expensive, "/(x|y)+z$/", `(a|!b "c \"d\\")`, "/[a-z]{2,9}\\//", "name!=/x/,\"\",ä*", "age:1h30m..2d,5m", "\xff", "a:b", "((", "id:*", "lon:179.99999..-180") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		Complete(text)
		first, err := Parse(text)
		if err != nil {
			checkError(t, text, err)
			return
		}
		again, err := Parse(first.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", text, first, err)
		}
		if got, want := shape(again), shape(first); got != want {
			t.Fatalf("%q: got\n%s\nwant\n%s", text, got, want)
		}
	})
}

// shape is all that can be seen of a filter.
func shape(f *Filter) string {
	var b strings.Builder
	fmt.Fprintln(&b, f.String(), f.Uses(), meant(f), f.first)
	for _, s := range f.steps {
		fmt.Fprintf(&b, "%T %d %d\n", s.test, s.yes, s.no)
	}
	return b.String()
}

func checkError(t *testing.T, text string, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Text != text || e.At < 0 || e.At > len(text) || e.Msg == "" {
		t.Fatalf("%q: %#v", text, err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || strings.Trim(lines[2], " ") != "^" {
		t.Fatalf("%q: %q", text, lines)
	}
	if at := strings.IndexFunc(strings.Join(lines, ""), unicode.IsControl); at >= 0 {
		t.Fatalf("%q: a control character in %q", text, lines)
	}
}

func BenchmarkMatch(b *testing.B) {
	for name, text := range map[string]string{
		"number": "speed>30", "numbers": "speed<90 battery<50 course:350..20", "text": "nowhere", "glob": "name:*x*",
		"state": "state:moving,idle", "near": "near:48.1,11.6,500km", "regexp": "/van-[0-9]+$/", "ids": "id:09c4*,d*",
	} {
		b.Run(name, func(b *testing.B) {
			f, err := Parse(text)
			if err != nil {
				b.Fatal(err)
			}
			var all []*Subject
			for r := 'a'; r <= 'f'; r++ {
				all = append(all, fleet[r])
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f.Match(all[i%len(all)])
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("(van|bus) !state:lost,stale speed>=90 near:48.1,11.6,5km"); err != nil {
			b.Fatal(err)
		}
	}
}
