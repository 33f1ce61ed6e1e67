package trace

import (
	"encoding/json"
)

// jsonl reads one object a line, as watch and history write them.
type jsonl struct {
	lines
}

func (j *jsonl) next() (record, error) {
	text, n, err := j.line()
	if err != nil {
		return record{}, err
	}
	var obj struct {
		Device   string   `json:"device"`
		Name     string   `json:"name"`
		Time     string   `json:"time"`
		Lat      *float64 `json:"lat"`
		Lon      *float64 `json:"lon"`
		Alt      *float32 `json:"alt_m"`
		Speed    *float32 `json:"speed_mps"`
		Course   *float32 `json:"course_deg"`
		Accuracy *float32 `json:"accuracy_m"`
		Battery  *float32 `json:"battery_pct"`
	}
	if err := json.Unmarshal(text, &obj); err != nil {
		return record{}, faultf(n, BadRow, "%v", err)
	}
	t, err := parseTime([]byte(obj.Time))
	if err != nil {
		return record{}, faultf(n, BadTime, "%v", err)
	}
	if obj.Lat == nil || obj.Lon == nil {
		return record{}, faultf(n, BadPosition, "a coordinate is missing")
	}
	name := obj.Name
	if name == "" {
		name = obj.Device
	}
	return record{
		line: n, device: []byte(name), time: t, lat: *obj.Lat, lon: *obj.Lon,
		alt: known(obj.Alt), speed: known(obj.Speed), course: known(obj.Course),
		accuracy: known(obj.Accuracy), battery: known(obj.Battery),
	}, nil
}

func known(v *float32) float32 {
	if v == nil {
		return Unknown
	}
	return *v
}
