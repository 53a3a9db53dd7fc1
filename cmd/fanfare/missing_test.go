package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMissingNodes: while a node of a cluster is paused, and after it was killed, answers
// to requests that concern its sessions name it, as docs/openapi.yaml says.
func TestMissingNodes(t *testing.T) {
	t.Parallel() // waits for nodes that do not answer
	api := loadOpenAPI(t)
	nats := "--nats=" + natsServer(t).ClientURL()
	a := startServer(t, nil, nats, "--node-name=a", "--durable-topic=kept.*")
	start := func(t *testing.T, name string) *process {
		t.Helper()
		// Each attempt opens a session of alice, and a paused node closes none.
		return startServer(t, nil, nats, "--node-name="+name, "--durable-topic=kept.*", "--sessions-per-user=10000")
	}
	requests := []apiCase{
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeText, "x", 200},
		{"GET", "/v1/users/{user}", "/v1/users/alice", "", "", 200},
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push?durable=true", typeText, "x", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/news/push", typeText, "x", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/kept.1/push", typeText, "x", 200},
		{"POST", "/v1/broadcast", "", typeText, "x", 200},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"topics":["news"],"text":"x"}`, 200},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice","bob"],"text":"x","durable":true}`, 200},
		{"POST", "/v1/push", "", typeJSON, `{"topics":["kept.1","kept.2"],"text":"x","durable":true}`, 200},
		{"POST", "/v1/batch", "", typeLines, `{"users":["alice"],"text":"x"}`, 200},
		{"GET", "/v1/sessions", "/v1/sessions?topic=news", "", "", 200},
		{"GET", "/v1/topics/{topic}", "/v1/topics/news", "", "", 200},
		{"GET", "/v1/topics/{topic}/sessions", "/v1/topics/news/sessions", "", "", 200},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/sport/users/alice", "", "", 200},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/sport/users/alice", "", "", 200},
		{"DELETE", "/v1/users/{user}", "/v1/users/alice", "", "", 200},
	}
	// ask sends the requests, and reports whether every answer named the node. A node of
	// which nothing was heard for 3.5 s is not expected to answer any more, and a busy
	// machine can need that long.
	ask := func(t *testing.T, name string, requests []apiCase) bool {
		for _, r := range requests {
			body := api.try(t, a.api, r)
			if t.Failed() {
				return true
			}
			if !strings.Contains(string(body), `"complete":false,"missing":["`+name+`"]`) {
				t.Logf("%s %s: %s", r.method, r.path, body)
				return false
			}
		}
		return true
	}
	t.Run("paused", func(t *testing.T) {
		b := start(t, "b:8081")
		for _, r := range requests {
			attempt(t, func() bool {
				b.joinWithAlice(t, a)
				b.signal(syscall.SIGSTOP)
				defer b.signal(syscall.SIGCONT)
				return ask(t, "b:8081", []apiCase{r})
			})
		}
	})
	t.Run("killed", func(t *testing.T) {
		for _, some := range [][]apiCase{requests[:3], requests[3:6]} {
			attempt(t, func() bool {
				c := start(t, "c")
				c.joinWithAlice(t, a)
				c.signal(syscall.SIGKILL)
				c.wait()
				return ask(t, "c", some)
			})
		}
	})
	line := a.waitLog("node did not answer")
	if line["node"] != "b:8081" {
		t.Errorf("logged %v", line)
	}
}

// attempt calls f until it reports true.
func attempt(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("too slow, or wrong")
		}
	}
}

// joinWithAlice connects alice, with topics, to p, and waits until another node knows.
func (p *process) joinWithAlice(t *testing.T, other *process) {
	t.Helper()
	p.connect("/ws?user=alice&topic=news&topic=kept.1&topic=kept.2")
	attempt(t, func() bool {
		for _, query := range []string{"user=alice", "topic=news", "topic=kept.1", "topic=kept.2"} {
			var answer struct {
				Complete bool
				Sessions []struct{ Node string }
			}
			_, body := other.get(other.api + "/v1/sessions?" + query)
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if !answer.Complete || len(answer.Sessions) == 0 {
				return false
			}
		}
		return true
	})
}
