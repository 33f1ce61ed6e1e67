package conf

import (
	"errors"
	"strings"
	"testing"

	"tracker/pkg/filter"
)

var namedFilters = map[string]string{"depot": "near:48.1,11.6,2km", "vans": "van | bus", "all": " ", "No-1_x": "1"}

func TestANameStandsForItsFilter(t *testing.T) {
	for text, want := range map[string]string{
		"@depot":             "near:48.1,11.6,2km",
		"@depot speed>50":    "near:48.1,11.6,2km speed>50",
		"speed>50 @vans":     "speed>50 (van | bus)",
		"!@vans":             "!(van | bus)",
		"! @vans":            "!(van | bus)",
		"(@vans|@depot)@all": "(van | bus | near:48.1,11.6,2km) name:*",
		"@No-1_x":            "1",
		"\u00a0@depot\t":     "near:48.1,11.6,2km",
		`"@vans"`:            `"@vans"`,
		`"a \" @vans"`:       `"a \" @vans"`,
		`/ @vans/`:           "/ @vans/",
		"a@vans":             "a@vans",
		`name:"x @vans",y`:   `name:"x @vans",y`,
		`name:1*,"x @vans"`:  `name:1*,"x @vans"`,
		"a!@vans":            "a!@vans",
		"":                   "",
	} {
		got, err := ParseFilter(text, namedFilters)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		direct, err := filter.Parse(want)
		if err != nil || got.String() != direct.String() {
			t.Errorf("%q is %q, want %q, %v", text, got, direct, err)
		}
	}
}

func TestMistakesAreWhereTheyWereTyped(t *testing.T) {
	for _, tt := range []struct {
		text string
		at   int
		says string
	}{
		{"van @depo", 4, "no filter is named @depo; did you mean @depot?"},
		{"@elsewhere", 0, "no filter is named @elsewhere; there are @No-1_x, @all, @depot, @vans"},
		{"@", 0, "behind @ comes the name of a filter; there are "},
		{"@depot,x", 6, "this follows too close"},
		{"@vans@depot", 5, "this follows too close"},
		{"@depot speed>fast", 13, ""},
		{"@depot (@vans x", 7, "there is no ) for this ("},
		{strings.Repeat("(", 64) + "@vans", 64, "there are more than 64 parentheses"},
		{`@depot "x`, 7, `there is no second "`},
	} {
		_, err := ParseFilter(tt.text, namedFilters)
		var wrong *filter.Error
		if !errors.As(err, &wrong) {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if wrong.At != tt.at || wrong.Text != tt.text || !strings.HasPrefix(wrong.Msg, tt.says) {
			t.Errorf("%q: at %d: %v, want at %d: %s", tt.text, wrong.At, err, tt.at, tt.says)
		}
	}
	_, err := ParseFilter("@x", nil)
	if err == nil || !strings.Contains(err.Error(), `the file of settings names them, or "quotes" make it text`) {
		t.Errorf("without names: %v", err)
	}
	long := map[string]string{"long": strings.Repeat("x ", 30_000)}
	if _, err := ParseFilter(strings.Repeat("@long ", 1000), long); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("sixty megabytes: %v", err)
	}
}

func TestAFilterWithANameNamesNoOther(t *testing.T) {
	_, _, err := Parse("map.toml", []byte("[filters]\na = \"van\"\nb = \"x (@a)\"\n"), some)
	if err == nil || !strings.HasPrefix(err.Error(), "map.toml:3:9: filter: one that has a name cannot name another") {
		t.Errorf("%v", err)
	}
	c, _, err := Parse("map.toml", []byte("[filters]\n"+FilterLine("mail", `"a@b" c@d`)+"\n"), some)
	if err != nil || c.Filters["mail"] != `"a@b" c@d` {
		t.Errorf("%v, %v", c, err)
	}
}

// What names no filter means what it means everywhere else, and what is wrong is told about
// the text that was typed.
func FuzzParseFilter(f *testing.F) {
	for _, text := range []string{"@depot speed>50", `"@vans" /@x/ a@b !@all`, "@vans@x", "(@vans", `name:"@`, "@", "x:/@vans y/ @vans"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFilter(text, namedFilters)
		if err != nil {
			var wrong *filter.Error
			if !errors.As(err, &wrong) || wrong.At < 0 || wrong.At > len(text) || wrong.Text != text {
				t.Errorf("%#v", err)
			}
		}
		direct, directErr := filter.Parse(text)
		if len(refs(text)) == 0 && ((err == nil) != (directErr == nil) || err == nil && got.String() != direct.String()) {
			t.Errorf("%q and %v, want %q and %v", got, err, direct, directErr)
		}
		// Every @ that stands for a filter is a word of its own, which Parse would look for.
		if directErr == nil && strings.Count(direct.String(), "@") < len(refs(text)) {
			t.Errorf("%q has %d names, and as text it is %q", text, len(refs(text)), direct)
		}
	})
}
