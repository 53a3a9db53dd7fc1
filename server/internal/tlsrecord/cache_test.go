package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"testing"
)

// The cache keeps an AEAD that was needed twice within Idle, as long as it is used.
func TestCache(t *testing.T) {
	k := &Cache{Max: 2, Idle: 10}
	server, client := pair(t, tls.TLS_AES_128_GCM_SHA256)
	send := func(now uint32) {
		t.Helper()
		if plain, _, err := server.Open(k, now, client.seal([]byte("x"))); string(plain) != "x" || err != nil {
			t.Fatalf("%q, %v", plain, err)
		}
	}
	want := func(n int, when string) {
		t.Helper()
		if k.Len() != n || (server.kept.Load() != nil) != (n > 0) {
			t.Errorf("%s: %d are kept, want %d", when, k.Len(), n)
		}
	}
	send(100)
	want(0, "once")
	send(120)
	want(0, "again, much later")
	send(125)
	want(1, "again")
	k.Sweep(135)
	want(1, "idle for 10 ticks")
	send(136)
	k.Sweep(146)
	want(1, "used meanwhile")
	k.Sweep(147)
	want(0, "idle for 11 ticks")
	send(147)
	want(0, "once after the sweep")
	send(148)
	want(1, "twice after the sweep")
	server.Erase()
	k.Sweep(149)
	if k.Len() != 0 {
		t.Error("an erased connection is kept")
	}
}

func TestCacheIsBounded(t *testing.T) {
	k := &Cache{Max: 2, Idle: 10}
	for i := range 5 {
		server, client := pair(t, tls.TLS_AES_128_GCM_SHA256)
		for range 5 {
			if plain, _, err := server.Open(k, 1, client.seal([]byte("x"))); string(plain) != "x" || err != nil {
				t.Fatalf("%q, %v", plain, err)
			}
		}
		if k.Len() != min(i+1, 2) {
			t.Errorf("%d connections are kept after %d", k.Len(), i+1)
		}
	}
}

// A key that changes is not used from the cache.
func TestCacheAfterKeyUpdate(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		k := &Cache{Max: 2, Idle: 10}
		server, client := pair(t, suite)
		for i := range 8 {
			wire := client.Seal(k, 1, nil, []byte("x"))
			if i%2 == 1 {
				wire = client.sealKeyUpdate(k, 1, wire, updateRequested)
			}
			if plain, _, err := server.Open(k, 1, wire); string(plain) != "x" || err != nil {
				t.Fatalf("message %d: %q, %v", i, plain, err)
			}
			if plain, _, err := client.Open(k, 1, server.Seal(k, 1, nil, []byte("y"))); string(plain) != "y" || err != nil {
				t.Fatalf("answer %d: %q, %v", i, plain, err)
			}
		}
	})
}

// A busy connection does not allocate.
func TestBusyDoesNotAllocate(t *testing.T) {
	everySuite(t, func(t *testing.T, suite uint16) {
		k := &Cache{Max: 2, Idle: 10}
		server, client := pair(t, suite)
		text := bytes.Repeat([]byte("x"), 1000)
		wire, back := make([]byte, 0, 2000), make([]byte, 0, 2000)
		if n := testing.AllocsPerRun(100, func() {
			wire = client.Seal(k, 1, wire[:0], text)
			plain, _, _ := server.Open(k, 1, wire)
			back = server.Seal(k, 1, back[:0], plain)
			client.Open(k, 1, back)
		}); n != 0 {
			t.Errorf("%v allocations for a message and its answer", n)
		}
	})
}
