package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	"fanfare/server/cluster"
	"fanfare/server/internal/natstest"
	"fanfare/server/store"
)

// TestOutage: while NATS is away live pushes reach local sessions, stored ones are
// rejected, and everything resumes by itself.
func TestOutage(t *testing.T) {
	outside := startNATS(t)
	all := startNodes(t, outside.ClientURL(), 2)
	c := all[0].dial("user=alice")
	c.want(said{Type: "hello", User: "alice"})
	first := all[0].mustPush("alice", "one")
	c.want(said{Type: "message", Offset: first.Offset, Text: "one"})
	away := all[0].mustPush("bob", "waits")

	outside.Stop()
	await(t, "the outage is noticed", func() bool { return all[0].store.Ready() != nil && all[0].cluster.Ready() != nil })
	if _, err := all[0].push("alice", "not stored"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("stored push: %v", err)
	}
	d, err := all[0].Push(t.Context(), "alice", server.NewMessage(server.Text, []byte("live")))
	if err != nil || d.Receivers != 1 || d.Complete() {
		t.Errorf("live push: %+v, %v: want one receiver, and that the other node was not reached", d, err)
	}
	c.want(said{Type: "message", Text: "live"})
	if list := all[0].Sessions(t.Context(), "bob"); list.Complete() {
		t.Errorf("the list claims to be complete: %+v", list)
	}
	bob := all[1].dial("user=bob") // gets what is his later

	outside.Start()
	await(t, "the stores resume", func() bool { return all[0].store.Ready() == nil && all[1].store.Ready() == nil })
	m := bob.hear()
	for m.Type == "hello" { // one without an epoch while the store is away, then one with it
		m = bob.hear()
	}
	if m.Type != "message" || m.Offset != away.Offset || m.Text != "waits" || m.Gap {
		t.Fatalf("got %+v", m)
	}
	await(t, "stored pushes are accepted", func() bool { _, err := all[1].push("alice", "two"); return err == nil })
	if m := c.hear(); m.Text != "two" || m.Gap {
		t.Fatalf("got %+v", m)
	}
}

// TestNATSComesLate: nodes start without NATS, and resume by themselves.
func TestNATSComesLate(t *testing.T) {
	outside := startNATS(t)
	url := outside.ClientURL()
	outside.Stop()
	all := []*node{startNode(t, url), startNode(t, url)}
	c := all[0].dial("user=alice")
	if d, err := all[0].Push(t.Context(), "alice", server.NewMessage(server.Text, []byte("live"))); err != nil || d.Receivers != 1 {
		t.Errorf("got %+v, %v", d, err)
	}
	if m := c.hear(); m.Type != "hello" || m.Epoch != "" {
		t.Fatalf("got %+v, want a hello before the live message", m)
	}
	c.want(said{Type: "message", Text: "live"})
	outside.Start()
	for _, n := range all {
		await(t, "the node is ready", func() bool { return n.store.Ready() == nil && n.cluster.Nodes() == 2 })
	}
	if m := c.hear(); m.Type != "hello" || m.Epoch == "" {
		t.Fatalf("got %+v, want a hello with an epoch", m)
	}
	st := all[1].mustPush("alice", "stored")
	c.want(said{Type: "message", Offset: st.Offset, Text: "stored"})
}

// TestOutageLog: an event of NATS is logged once for each of the two connections, with the
// name of the connection and without the password.
func TestOutageLog(t *testing.T) {
	outside := natstest.Start(t, natsserver.Options{JetStream: true, Username: "user", Password: "SECRET"})
	url := "nats://user:SECRET@" + outside.Addr().String()
	log := new(cluster.Log)
	n := setup{store: url, cluster: url, log: log}.start(t)
	await(t, "the node is ready", func() bool { return n.store.Ready() == nil && n.cluster.Ready() == nil })
	outside.Stop()
	await(t, "the outage is noticed", func() bool { return n.store.Ready() != nil && n.cluster.Ready() != nil })
	n.push("alice", "not stored")
	n.Push(t.Context(), "alice", server.NewMessage(server.Text, []byte("live")))
	outside.Start()
	await(t, "the node is ready again", func() bool { return n.store.Ready() == nil && n.cluster.Ready() == nil })
	for _, event := range []string{"NATS connected", "NATS disconnected", "NATS reconnected"} {
		for _, connection := range []string{"store", "cluster"} {
			line := `msg="` + event + `" connection=` + connection + " "
			await(t, line, func() bool { return log.Count(line) > 0 })
			if k := log.Count(line); k != 1 {
				t.Errorf("%d lines %s", k, line)
			}
		}
		if k := log.Count(event); k != 2 {
			t.Errorf("%d lines %q", k, event)
		}
	}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `msg="NATS`) && !strings.Contains(line, " connection=") || strings.Contains(line, "SECRET") {
			t.Error(line)
		}
	}
}

// TestStalledNATSOfNode: a NATS server that is there but does not read costs the sessions
// of a node nothing: while a write to it waits, clients connect, get what is pushed to
// them, list and leave.
func TestStalledNATSOfNode(t *testing.T) {
	for name, withStore := range map[string]bool{"cluster": false, "cluster and store": true} {
		t.Run(name, func(t *testing.T) {
			outside := startNATS(t)
			p := cluster.StartProxy(t, outside.Addr().String(), 0)
			opened := make(chan struct{}, 1)
			s := setup{cluster: "nats://" + p.Addr(), opened: func(*server.Session) { opened <- struct{}{} }}
			if withStore {
				s.store = s.cluster
			}
			n, other := s.start(t), startNode(t, outside.ClientURL())
			ready := func() bool {
				return n.cluster.Ready() == nil && n.cluster.Nodes() == 2 && n.cluster.Shared(server.Target{User: "elsewhere"})
			}
			other.dial("user=elsewhere")
			await(t, "the nodes know each other", ready)
			ended, end := context.WithCancel(t.Context())
			end() // Push does not wait for the other node
			big := server.NewMessage(server.Binary, make([]byte, 64<<10))
			const rounds = 20
			attempt := 0
			// The write can wait until NATS is given up, after 2 to 4 s. Within one such
			// write everything else must go on. It may end while this machine is busy
			// with something else, so there are several attempts.
			await(t, "20 clients come and go while one write waits", func() bool {
				p.Stall(false)
				await(t, "connected", ready)
				p.Stall(true)
				for n.cluster.Stats().QueuedBytes < 4<<20 { // the kernel's buffers are full
					if n.cluster.Ready() != nil {
						return false
					}
					n.Push(ended, "elsewhere", big)
				}
				sent := n.cluster.Stats().Sent
				attempt++
				for i := range rounds {
					user := fmt.Sprint("user", attempt, "-", i) // of a bucket that is not subscribed yet
					c := n.dial("user=" + user + "&topic=" + user)
					<-opened
					m := server.NewMessage(server.Text, []byte("live"))
					for name, send := range map[string]func() (server.Delivery, error){
						"push":    func() (server.Delivery, error) { return n.Push(t.Context(), user, m) },
						"publish": func() (server.Delivery, error) { return n.Publish(t.Context(), user, m) },
					} {
						if d, err := send(); err != nil || d.Receivers != 1 {
							t.Fatalf("%s: %+v, %v", name, d, err)
						}
						if !withStore {
							c.live("live")
						}
					}
					if list := n.Sessions(t.Context(), user); len(list.Sessions) != 1 {
						t.Fatalf("sessions: %+v", list)
					}
					if d, err := n.Disconnect(t.Context(), user, 4000, ""); err != nil || d.Receivers != 1 {
						t.Fatalf("disconnect: %+v, %v", d, err)
					}
					if withStore { // live messages wait a second for stored ones, or for the end
						c.live("live")
						c.live("live")
					}
					c.closed(4000)
				}
				return n.cluster.Ready() == nil && n.cluster.Stats().Sent == sent
			})
			p.Stall(false)
			await(t, "the nodes know each other again", ready)
		})
	}
}
