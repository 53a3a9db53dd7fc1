package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/gobwas/ws/wsutil"
	"github.com/nats-io/nats.go"
)

// TestMessagesPlan: what clients send goes to one place, and what is wrong with the flags is an
// error of serve, check and reload.
func TestMessagesPlan(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--message-topic=chat.1 --client-publish=chat.*", ""},
		{"--message-topic=chat.1", "with --auth none no client may publish to it: give --client-publish chat.1, too"},
		{"--message-topic=chat.1 --client-publish=news", "no client may publish to it"},
		{"--message-topic=\x01 --client-publish=*", "--message-topic is"},
		{"--message-topic=chat.1 --client-publish=* --message-hook=https://backend.example/x", "--message-hook and --message-topic contradict each other: give one"},
		{"--message-subject=a.b", "--message-subject has no effect here: it needs --nats"},
		{"--message-subject=a.* --nats=nats://127.0.0.1", `--message-subject is "a.*"`},
		{"--message-subject=fanfare.x --nats=nats://127.0.0.1", "not for messages of clients"},
		{"--message-subject=a.b --nats=nats://127.0.0.1 --message-subject-timeout=1h", "--message-subject-timeout is 1h0m0s"},
		{"--message-subject=a.b --nats=nats://127.0.0.1 --message-topic=x", "--message-subject and --message-topic contradict each other"},
		{"--message-subject-answer=stored", "--message-subject-answer has no effect here: it needs --message-subject"},
		{"--message-queue=7", "--message-queue has no effect here: it needs --message-hook, --message-subject or --message-topic"},
		{"--message-subject=a.b --nats=nats://127.0.0.1 --message-subject-answer=published --message-queue=7", ""},
	} {
		args := strings.Fields(tt.args)
		if !strings.Contains(tt.args, "--nats") {
			args = append(args, "--data-dir=none")
		}
		plan, err := parseServe(t, args...).Plan(slog.New(slog.DiscardHandler))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
		if err == nil && (plan.MessageSubject != nil) != strings.Contains(tt.args, "--message-subject=") {
			t.Errorf("%q: the subject is %v", tt.args, plan.MessageSubject)
		}
	}
}

// TestMessageSubject: a program that has subscribed answers a client.
func TestMessageSubject(t *testing.T) {
	ns := natsServer(t)
	nc, err := nats.Connect(ns.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Subscribe("chat.in", func(m *nats.Msg) {
		if !strings.Contains(string(m.Data), `"user":"alice"`) {
			t.Errorf("got %s", m.Data)
		}
		m.Respond([]byte("pong"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, nil, "--nats="+ns.ClientURL(), "--message-subject=chat.in")
	c := p.connect("/ws?user=alice")
	if err := wsutil.WriteClientText(c, []byte("ping")); err != nil {
		t.Fatal(err)
	}
	if got, err := wsutil.ReadServerText(c); err != nil || string(got) != "pong" {
		t.Errorf("got %q, %v", got, err)
	}
	metrics := string(get(t, "http://"+p.api+"/metrics"))
	for _, want := range []string{`fanfare_message_subject_total{result="answered"} 1`, `fanfare_message_subject_total{result="too_big"} 0`,
		"fanfare_message_subject_requests 0", `fanfare_client_requests_total{result="answered"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}
