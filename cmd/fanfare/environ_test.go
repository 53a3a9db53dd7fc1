package main

import (
	"fmt"
	"strings"
	"testing"

	"fanfare/cmd/fanfare/internal/settings"
)

func TestUnknownVariables(t *testing.T) {
	withoutRace(t)
	for _, test := range []struct {
		env           string
		nearest, flag string // of the warning; empty: none
	}{
		{"FANFARE_PING_INTREVAL=1s", "FANFARE_PING_INTERVAL", "--ping-interval"},
		{"FANFARE_TRUSTED_PROXYS=10.0.0.1", "FANFARE_TRUSTED_PROXY", "--trusted-proxy"},
		{"FANFARE_api=x", "FANFARE_API", "--api"},
		{"FANFARE_NATSS=x", "FANFARE_NATS", "--nats"},
		{"FANFARE_PORT=8080", "FANFARE_PATH", "--path"}, // not what Kubernetes makes
		{"FANFARE_PORT=tcp://10.0.0.1:8080", "", ""},
		{"FANFARE_SERVICE_HOST=10.0.0.1", "", ""},
		{"FANFARE_SERVICE_PORT=8080", "", ""},
		{"FANFARE_SERVICE_PORT_HTTP=8080", "", ""},
		{"FANFARE_PORT_8080_TCP=tcp://10.0.0.1:8080", "", ""},
		{"FANFARE_PORT_8080_TCP_ADDR=10.0.0.1", "", ""},
		{"FANFARE_PORT_8080_TCP_PORT=8080", "", ""},
		{"FANFARE_PORT_8080_TCP_PROTO=tcp", "", ""},
		{"FANFARE_PORT_53_UDP=udp://10.0.0.1:53", "", ""},
		{"FANFARE_API_SERVICE_HOST=10.0.0.1", "", ""}, // of a service called fanfare-api
		{"FANFARE_API_PORT=tcp://10.0.0.1:8081", "", ""},
		{"FANFARE_API_KEY=0123456789abcdef", "", ""},
		{"FANFARE_TIMEOUT=3s", "", ""}, // of fanfare push
		{"FANFARE_PING_INTREVAL=", "", ""},
	} {
		t.Run(test.env, func(t *testing.T) {
			p := startServer(t, []string{test.env})
			var got string
			for _, line := range p.before {
				if line["msg"] == "unknown environment variable" {
					got += fmt.Sprintln(line["level"], line["name"], line["nearest"], line["flag"])
				}
			}
			name, _, _ := strings.Cut(test.env, "=")
			want := ""
			if test.nearest != "" {
				want = fmt.Sprintln("WARN", name, test.nearest, test.flag)
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestEmptyVariables: every flag treats an empty variable as unset, whatever its type.
func TestEmptyVariables(t *testing.T) {
	withoutRace(t)
	var c cli
	ctx, err := parse(&c, []string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, f := range ctx.Selected().Flags {
		env = append(env, f.Envs[0]+"=")
	}
	if len(env) < 50 {
		t.Fatalf("found only %q", env)
	}
	env = append(env, settings.APIKeyEnv+"=")
	p := startServer(t, env)
	for _, line := range p.before {
		if line["level"] == "WARN" {
			t.Errorf("%v", line)
		}
	}
	// The client's flags, too.
	if r := runProgram(t, "", append(env, "FANFARE_TIMEOUT=", "FANFARE_API_KEY_FILE="), "push", "--api="+p.api, "alice", "x"); r.code != exitOK || r.stdout != "0\n" {
		t.Errorf("%+v", r)
	}
}
