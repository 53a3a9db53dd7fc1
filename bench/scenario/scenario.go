package scenario

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"fanfare/bench/servers"
)

// A Scenario defines one measurement.
type Scenario struct {
	Name    string
	About   string
	Metrics []Metric // the first is the main one
	// Payload means that messages of the plan's size are sent; Sizes and Depths mean that the scenario runs once for
	// each of the plan's sizes or depths.
	Payload, Sizes, Depths bool
	// API means that the server must have an HTTP API; Pushes that it must also have users, topics and heartbeats.
	API, Pushes bool
	// TLS means that clients and server speak TLS 1.3.
	TLS bool
	// Own means that servers with an interface of their own take part, too.
	Own bool
	// Needs is what a server must have beyond that: "echo", "events", "batch" or "store".
	Needs string
	// Events means that the clients read server-sent events.
	Events bool
	// Processes means that the figures are those of all processes of a server.
	Processes bool
	// Ping is the ping interval of the server; nil is the default.
	Ping func(Plan) time.Duration
	Run  func(ctx context.Context, e *Env) error
}

// A Metric is a column of a scenario's table.
type Metric struct {
	Key      string `json:"key"`
	Title    string `json:"title"`
	Unit     string `json:"unit,omitempty"`
	Decimals int    `json:"decimals"`
	Better   int    `json:"better"` // 1: more is better, -1: less is, 0: neither
}

// All lists the scenarios.
func All() []Scenario {
	return []Scenario{
		idle, connect, echo, broadcast, paced, push, push1, push16, pushBatch, beside, topics, heartbeat, slow, churn,
		reconnect, login1, login10, login100, durable, sseBroadcast, tlsIdle, tlsEcho,
	}
}

// Find returns the scenarios with these names; "all" is every scenario.
func Find(names []string) (found []Scenario, err error) {
	for _, name := range names {
		if name == "all" {
			return All(), nil
		}
		n := len(found)
		for _, s := range All() {
			if s.Name == name {
				found = append(found, s)
			}
		}
		if len(found) == n {
			return nil, fmt.Errorf("scenario: no scenario is called %q", name)
		}
	}
	return found, nil
}

// Excludes returns why a server cannot take part, or "".
func (s Scenario) Excludes(spec servers.Spec) string {
	switch {
	case s.TLS && !spec.TLS:
		return "the server does not speak TLS here"
	case !s.TLS && spec.Proxy:
		return "the server is a proxy that ends TLS"
	case !s.Processes && spec.Proxy:
		return "the scenario measures one process, and the server has several"
	case (s.API || s.Pushes) && spec.Target != nil && spec.Target.API == "":
		return "the scenario needs an HTTP API; give its URL with --target-api"
	case spec.Product != nil:
		return s.excludesProduct(spec.Product)
	case s.Needs != "" && s.Needs != "echo":
		return "the scenario is for push servers, see list"
	case s.Pushes && !spec.Pushes:
		return "the server has no users, topics or heartbeats"
	}
	return ""
}

func (s Scenario) excludesProduct(p *servers.Product) string {
	switch {
	case s.Needs != "" && p.Lacks[s.Needs] != "":
		return p.Lacks[s.Needs]
	case !s.Own:
		return "the scenario is for servers with the common interface"
	}
	return ""
}

// PingInterval returns the ping interval of the server.
func (s Scenario) PingInterval(p Plan) time.Duration {
	if s.Ping == nil {
		return servers.PingInterval
	}
	return s.Ping(p)
}

// A Plan has the sizes and times of a run.
type Plan struct {
	Connections []int         `json:"connections"`
	Sizes       []int         `json:"sizes"`     // bytes per payload
	Depths      []int         `json:"depths"`    // echoes sent in one write
	Window      int           `json:"window"`    // pending handshakes
	InFlight    int           `json:"inflight"`  // pending echoes
	Active      int           `json:"active"`    // connections that echo; 0 is all
	Warm        time.Duration `json:"warm"`      // before the measured time
	Time        time.Duration `json:"time"`      // measured
	Settle      time.Duration `json:"settle"`    // quiet before memory is read
	Binary      bool          `json:"binary"`    // binary messages instead of text
	Pushes      int           `json:"pushes"`    // to single users, per second
	Publishes   int           `json:"publishes"` // to topics, per second
	Topics      int           `json:"topics"`
	PerUser     int           `json:"perUser"`   // topics that each user subscribes to
	Heartbeat   time.Duration `json:"heartbeat"` // interval of the pings that are counted
	SlowSize    int           `json:"slowSize"`  // bytes per payload where some receivers are stuck
	Churn       int           `json:"churn"`     // connections opened and closed, per second
	Storms      int           `json:"storms"`    // how often all clients connect again
	Beside      int           `json:"beside"`    // pushes to single users beside broadcasts, per second
}

// A Case is one combination of the sizes of a plan.
type Case struct {
	Connections int `json:"connections"`
	Size        int `json:"size,omitempty"`
	Depth       int `json:"depth,omitempty"`
}

// Cases returns the cases of the plan in which the scenario runs.
func (s Scenario) Cases(p Plan) (cases []Case) {
	sizes, depths := []int{0}, []int{0}
	if s.Payload {
		sizes = p.Sizes[:1]
	}
	if s.Sizes {
		sizes = p.Sizes
	}
	if s.Depths {
		depths = p.Depths
	}
	for _, n := range p.Connections {
		for _, size := range sizes {
			for _, depth := range depths {
				cases = append(cases, Case{n, size, depth})
			}
		}
	}
	return cases
}

func (c Case) String() string {
	parts := []string{fmt.Sprintf("%s connections", Grouped(float64(c.Connections), 0))}
	if c.Size > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes", c.Size))
	}
	if c.Depth > 1 {
		parts = append(parts, fmt.Sprintf("%d per write", c.Depth))
	}
	return strings.Join(parts, ", ")
}

// Grouped formats a number with commas between thousands.
func Grouped(v float64, decimals int) string {
	s := fmt.Sprintf("%.*f", decimals, math.Abs(v))
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if v < 0 && strings.Trim(whole, "0.,") != "" {
		whole = "-" + whole
	}
	return whole
}
