package filter

import (
	"slices"
	"testing"
)

func TestCompletionGoesOnFromWhatIsTyped(t *testing.T) {
	for in, want := range map[string][]string{
		"st":                    {"state:", "status:"},
		"van ST":                {"van state:", "van status:"},
		"van (idle|!sp":         {"van (idle|!speed>", "van (idle|!speed<", "van (idle|!speed:"},
		"state:mo":              {"state:moving"},
		"a state!=L":            {"a state!=lost"},
		"!state=idle,l":         {"!state=idle,lost"},
		"state:idle,idl":        nil,
		"power:":                {"power:yes", "power:no"},
		"is:jump,":              {"is:jump,placed", "is:jump,suspect", "is:jump,late"},
		"event:low":             {"event:low_battery"},
		"name:v":                nil,
		"nosuch:v":              nil,
		"zz":                    nil,
		`name:"st`:              nil,
		`name:"a b" st`:         {`name:"a b" state:`, `name:"a b" status:`},
		"van\u00a0alt":          {"van\u00a0alt>", "van\u00a0alt<", "van\u00a0alt:"},
		"alarm:":                {"alarm:*"},
		"\u0130st":              nil,
		"state:\u0130":          nil,
		"near:48.1,11.6,5km ba": {"near:48.1,11.6,5km battery>", "near:48.1,11.6,5km battery<", "near:48.1,11.6,5km battery:"},
	} {
		if got := Complete(in); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := Complete(""); len(got) != len(Keys)+2*8 { // eight keys are numbers
		t.Errorf("nothing is completed to %q", got)
	}
}
