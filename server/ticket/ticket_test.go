package ticket

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"fanfare/server"
)

const path = "/ws"

var (
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	keyA  = bytes.Repeat([]byte("a"), MinKey)
	keyB  = bytes.Repeat([]byte("b"), MinKey)
)

// at returns Tickets of a server whose clock stands still.
func at(t testing.TB, now time.Time, keys ...[]byte) *Tickets {
	t.Helper()
	tickets, err := New(Config{Keys: keys, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return tickets
}

// full is an identity with everything that a ticket holds.
func full() server.Identity {
	return server.Identity{
		User: "alice", Topics: []string{"news"}, MaySubscribe: []string{"news", "chat.*"}, MayPublish: []string{"p"}, MayReadPresence: []string{"r"},
		Limits: server.SessionLimits{Messages: 7, Topics: 9}, Labels: map[string]string{"platform": "ios"}, Data: jsontext.Value(`{"a":1}`),
		Expires: start.Add(30 * time.Minute), TokenID: "jti", Issued: start.Add(-time.Minute),
	}
}

// TestRestore: another node restores all of an identity.
func TestRestore(t *testing.T) {
	for _, test := range []struct {
		name string
		id   server.Identity
		want func(id *server.Identity) // what is different afterwards
	}{
		{"everything", full(), func(id *server.Identity) { id.ValidUntil = id.Expires }},
		{"a user alone", server.Identity{User: "bob"}, func(id *server.Identity) { id.Issued, id.ValidUntil = start, start.Add(time.Hour) }},
		{"a token that expires first", server.Identity{User: "bob", Issued: time.Unix(0, 0), ValidUntil: start.Add(time.Minute)}, func(*server.Identity) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ticket := at(t, start, keyA).Issue(path, &test.id)
			if ticket == "" || strings.Contains(ticket, "alice") {
				t.Fatalf("the ticket is %q", ticket)
			}
			got, ok := at(t, start.Add(59*time.Second), keyA).Restore(path, ticket)
			test.want(&test.id)
			for _, when := range []*time.Time{&got.Issued, &got.Expires, &got.ValidUntil} {
				if !when.IsZero() {
					*when = when.UTC()
				}
			}
			test.id.Issued, test.id.ValidUntil = test.id.Issued.UTC(), test.id.ValidUntil.UTC()
			if !ok || !reflect.DeepEqual(got, test.id) {
				t.Errorf("%v, restored\n%+v, want\n%+v", ok, got, test.id)
			}
		})
	}
}

// TestEnd: a ticket ends with its age, its identity or its token, whichever is first, and
// one that was issued for a session with a ticket does not prolong it.
func TestEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		id   server.Identity
		ends time.Duration
	}{
		{"age", server.Identity{User: "bob"}, DefaultAge},
		{"identity", server.Identity{User: "bob", Expires: start.Add(time.Minute), ValidUntil: start.Add(2 * time.Minute)}, time.Minute},
		{"token", server.Identity{User: "bob", Expires: start.Add(2 * time.Minute), ValidUntil: start.Add(time.Minute)}, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			first := at(t, start, keyA).Issue(path, &test.id)
			before := at(t, start.Add(test.ends-time.Millisecond), keyA)
			id, ok := before.Restore(path, first)
			if !ok {
				t.Fatal("it ends too early")
			}
			second := before.Issue(path, &id)
			after := at(t, start.Add(test.ends), keyA)
			for i, ticket := range []string{first, second} {
				if _, ok := after.Restore(path, ticket); ok || ticket == "" {
					t.Errorf("ticket %d is accepted after its end, or empty", i+1)
				}
			}
			if ticket := after.Issue(path, &id); ticket != "" {
				t.Error("a ticket is issued after its end")
			}
			if n := after.expired.Load(); n != 2 {
				t.Errorf("%d expired tickets are counted", n)
			}
		})
	}
}

// TestForged: every change of a ticket makes it worthless, as does another path or key.
func TestForged(t *testing.T) {
	id := full()
	tickets := at(t, start, keyA)
	ticket := tickets.Issue(path, &id)
	for i := range len(ticket) {
		for _, c := range "AB_" {
			forged := ticket[:i] + string(c) + ticket[i+1:]
			if _, ok := tickets.Restore(path, forged); ok && forged != ticket {
				t.Fatalf("accepted with another byte %d", i)
			}
		}
	}
	for _, test := range []struct {
		name, path, ticket string
		tickets            *Tickets
	}{
		{"another path", "/other", ticket, tickets},
		{"another key", path, ticket, at(t, start, keyB)},
		{"a random key", path, ticket, at(t, start)},
		{"cut", path, ticket[:len(ticket)-4], tickets},
		{"longer", path, ticket + "AAAA", tickets},
		{"padded", path, ticket + "=", tickets},
		{"with a line end", path, ticket[:8] + "\n" + ticket[8:], tickets},
		{"too long", path, strings.Repeat("A", MaxLength+1), tickets},
		{"too short", path, "AQ", tickets},
		{"empty", path, "", tickets},
	} {
		if id, ok := test.tickets.Restore(test.path, test.ticket); ok || id.User != "" {
			t.Errorf("%s: accepted as %q", test.name, id.User)
		}
	}
}

// TestRotation: the steps of replacing a key, on two nodes that take them one after the other.
func TestRotation(t *testing.T) {
	id := full()
	steps := [][][]byte{{keyA}, {keyA, keyB}, {keyB, keyA}, {keyB}}
	for i := 1; i < len(steps); i++ {
		was, is := at(t, start, steps[i-1]...), at(t, start, steps[i]...)
		for _, pair := range [][2]*Tickets{{was, is}, {is, was}} {
			if _, ok := pair[1].Restore(path, pair[0].Issue(path, &id)); !ok {
				t.Errorf("step %d: a ticket of one node is not valid on the other", i)
			}
		}
	}
	node := at(t, start, keyA)
	old := node.Issue(path, &id)
	if err := node.SetConfig(Config{Keys: [][]byte{keyB}, Age: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if _, ok := node.Restore(path, old); ok {
		t.Error("a ticket is accepted whose key was removed")
	}
	got, ok := node.Restore(path, node.Issue(path, &id))
	if !ok || !got.ValidUntil.Equal(start.Add(time.Minute)) {
		t.Errorf("after SetConfig a ticket ends at %v", got.ValidUntil)
	}
	if err := node.SetConfig(Config{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := at(t, start, keyB).Restore(path, node.Issue(path, &id)); !ok {
		t.Error("a configuration without keys has replaced them")
	}
}

// TestUnfit: identities that get no ticket, each of which is counted.
func TestUnfit(t *testing.T) {
	long := server.Identity{User: "bob", MaySubscribe: []string{strings.Repeat("x", 250), strings.Repeat("y", 250)}}
	for range 6 {
		long.MayPublish = append(long.MayPublish, strings.Repeat("z", 250))
	}
	for name, id := range map[string]server.Identity{
		"too long":              long,
		"data that is not JSON": {User: "bob", Data: 7},
		"broken JSON":           {User: "bob", Data: jsontext.Value(`{`)},
		"not UTF-8":             {User: "bob\xff"},
	} {
		tickets := at(t, start, keyA)
		if ticket := tickets.Issue(path, &id); ticket != "" || tickets.unfit.Load() != 1 {
			t.Errorf("%s: %d bytes, counted %d", name, len(ticket), tickets.unfit.Load())
		}
	}
}

// TestConfig: what is wrong with a configuration, without a key in the error.
func TestConfig(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, ""},
		{Config{Age: MaxAge, Keys: [][]byte{keyA}}, ""},
		{Config{Age: time.Millisecond}, "Age is 1ms: want 1s to 720h0m0s"},
		{Config{Age: MaxAge + 1}, "want 1s to 720h0m0s"},
		{Config{Keys: [][]byte{keyA, []byte("secret")}}, "Keys has 6 bytes in its key 2: want at least 32"},
		{Config{Keys: [][]byte{keyA, keyA, keyA, keyA, keyB}}, "Keys has 5 keys: want at most 4"},
	} {
		_, err := New(test.cfg)
		if test.want == "" && err == nil {
			continue
		}
		if test.want == "" || err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}

// FuzzRestore: no text is a ticket unless it was issued.
func FuzzRestore(f *testing.F) {
	tickets := at(f, start, keyA, keyB)
	id := full()
	issued := tickets.Issue(path, &id)
	f.Add(issued[:60])
	f.Add("AQ" + strings.Repeat("A", 80))
	f.Add("")
	f.Fuzz(func(t *testing.T, ticket string) {
		if id, ok := tickets.Restore(path, ticket); ok {
			t.Errorf("%q is accepted as %q", ticket, id.User)
		}
	})
}

// FuzzDecode: what decode accepts is an identity that encode returns in the same form.
func FuzzDecode(f *testing.F) {
	id := full()
	plain, _ := encode(&id, start, start.Add(time.Hour))
	f.Add(plain)
	f.Add([]byte(`{"u":"bob","j":0,"v":1}`))
	f.Add([]byte(`{"u":"bob","j":0,"v":1,"new":true}`))
	f.Add([]byte(`{"u":"","j":0,"v":1}`))
	f.Add([]byte(`{"u":"bob","m":-1}`))
	f.Fuzz(func(t *testing.T, plain []byte) {
		id, ok := decode(plain)
		if !ok {
			if id.User != "" {
				t.Error("a rejected identity has a user")
			}
			return
		}
		again, ok := encode(&id, start, id.ValidUntil)
		if !ok {
			t.Fatalf("%+v cannot be encoded", id)
		}
		if got, ok := decode(again); !ok || got.User != id.User || !got.ValidUntil.Equal(id.ValidUntil) || !got.Expires.Equal(id.Expires) || !got.Issued.Equal(id.Issued) {
			t.Errorf("%+v became %+v", id, got)
		}
	})
}

// BenchmarkTicket is what a handshake pays.
func BenchmarkTicket(b *testing.B) {
	id := full()
	tickets := at(b, start, keyA)
	ticket := tickets.Issue(path, &id)
	b.Run("issue", func(b *testing.B) {
		for b.Loop() {
			tickets.Issue(path, &id)
		}
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			tickets.Restore(path, ticket)
		}
	})
	b.ReportMetric(float64(len(ticket)), "bytes")
}
