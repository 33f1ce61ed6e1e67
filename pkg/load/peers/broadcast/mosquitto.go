package broadcast

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"tracker/pkg/load"
	"tracker/pkg/load/peers/codec"
)

// Mosquitto is a broker of MQTT 3.1.1, asked for messages of one quality.
type Mosquitto struct {
	*server
	qos byte
}

// Nothing is dropped and nobody waits for a place in flight, so that quality 1 means what
// it says.
var mosquittoSettings = []string{
	"allow_anonymous true", "persistence false", "max_queued_messages 0", "max_queued_bytes 0", "max_inflight_messages 0",
	"max_inflight_bytes 0", "set_tcp_nodelay true", "sys_interval 0", "max_connections -1",
}

// StartMosquitto starts one; ErrAbsent if there is none. Debian installs it where only
// administrators look.
func StartMosquitto(ctx context.Context, seats load.Seats, qos byte) (*Mosquitto, error) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/mosquitto")
	}
	if err != nil {
		return nil, absent("mosquitto", "Debian has it: apt-get install -y mosquitto mosquitto-clients")
	}
	s, err := launch(ctx, seats, "mosquitto", func(dir, port string) ([]string, error) {
		path, err := write(dir, "mosquitto.conf", append([]string{"listener " + port + " 127.0.0.1", "log_dest stderr"}, mosquittoSettings...))
		return []string{"sh", "-c", `exec "$0" "$@" 2>&1`, program, "-c", path}, err
	}, func(l string) bool { return strings.HasSuffix(l, " running") })
	if err != nil {
		return nil, err
	}
	s.facts = Facts{Settings: mosquittoSettings, Confirms: qos == 1, Promise: "at most once"}
	if qos == 1 {
		s.facts.Promise = "at least once while a connection lasts: every delivery is answered"
	}
	s.facts.Version = strings.TrimPrefix(said(ctx, program, "-h"), "mosquitto version ")
	return &Mosquitto{s, qos}, nil
}

func (m *Mosquitto) Name() string {
	if m.qos > 0 {
		return "mosquitto-qos1"
	}
	return "mosquitto"
}

func (m *Mosquitto) View(ctx context.Context, l *Line) error {
	ear := &codec.MQTT{Topic: channel, QoS: m.qos}
	l.Ear = ear
	hello := codec.AppendMQTTConnect(nil, fmt.Sprintf("v%x-%d", l.Salt, l.Nr))
	return l.Greet(ctx, codec.AppendMQTTSubscribe(hello, channel, m.qos), func() bool { return ear.Subscribed })
}

func (m *Mosquitto) Publish(ctx context.Context, l *Line, _ int) (Mouth, error) {
	ear := &codec.MQTT{}
	l.Ear = ear
	return mouth{salt: l.Salt, append: func(dst []byte, seq uint64, payload []byte) []byte {
		return codec.AppendMQTTPublish(dst, channel, m.qos, uint16(seq%65535)+1, payload)
	}}, l.Greet(ctx, codec.AppendMQTTConnect(nil, fmt.Sprintf("p%x", l.Salt)), func() bool { return ear.Connected })
}
