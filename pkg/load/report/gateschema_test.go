package report

import (
	"reflect"
	"testing"

	"tracker/pkg/load"
	"tracker/pkg/load/gate"
	"tracker/pkg/load/schematest"
)

// gateSchema is the published schema of gates.
var gateSchema = schematest.Schema{
	File: "../../../docs/schema/trackbench.gate-1.json", ID: gate.Schema, Root: reflect.TypeFor[gate.Report](), From: []string{"..", "../gate"},
	As: map[reflect.Type]map[string]any{
		reflect.TypeFor[load.Instant](): schematest.Instant(),
		reflect.TypeFor[gate.Verdict](): schematest.Enum(gate.Pass, gate.Regressed, gate.Inconclusive, gate.Failed),
	},
}

func TestThePublishedGateSchemaIsThatOfTheTypes(t *testing.T) { gateSchema.CheckPublished(t, *update) }

func TestGatesAsJSONKeepToTheSchema(t *testing.T) {
	for name, r := range gates(t) {
		if name == "nil" || name == "hostile" { // no gate of ours
			continue
		}
		for _, fault := range gateSchema.Faults(t, []byte(gatePrinted(t, "json", r))) {
			t.Errorf("%s: %s", name, fault)
		}
	}
	r := gateOf()
	r.Same, r.Metrics = nil, nil
	if faults := gateSchema.Faults(t, []byte(gatePrinted(t, "json", r))); len(faults) > 0 {
		t.Errorf("a gate that compared nothing: %v", faults)
	}
}

func TestTheGateSchemaRefusesWhatIsNoGate(t *testing.T) {
	good := []byte(gatePrinted(t, "json", gates(t)["statistics"]))
	metric := func(m map[string]any) map[string]any { return m["metrics"].([]any)[4].(map[string]any) }
	gateSchema.CheckRefuses(t, good, map[string]func(map[string]any){
		"another schema":         func(m map[string]any) { m["schema"] = "trackbench.gate/2" },
		"no verdict":             func(m map[string]any) { delete(m, "verdict") },
		"an odd verdict":         func(m map[string]any) { m["verdict"] = "FINE" },
		"a local time":           func(m map[string]any) { m["started"] = "2026-11-22 05:00" },
		"half a nanosecond":      func(m map[string]any) { m["took_ns"] = 0.5 },
		"no metrics":             func(m map[string]any) { m["metrics"] = nil },
		"a head without a name":  func(m map[string]any) { delete(m["head"].(map[string]any), "name") },
		"a metric's odd verdict": func(m map[string]any) { metric(m)["verdict"] = "FINE" },
		"a change in words":      func(m map[string]any) { metric(m)["change"] = "a lot" },
		"no launches":            func(m map[string]any) { delete(metric(m), "launches") },
		"half a launch":          func(m map[string]any) { metric(m)["confirm"].(map[string]any)["launches"] = 0.5 },
		"a launch in words":      func(m map[string]any) { metric(m)["each"] = []any{"much"} },
		"a seed below 0":         func(m map[string]any) { m["seed"] = -1 },
	})
}
