package sse_test

import (
	"testing"

	"fanfare/server"
)

// A stream has no pings: its messages are written, and never confirmed.
func TestReceiptIsSilent(t *testing.T) {
	srv := start(t)
	c := open(t, srv, "/sse?user=alice")
	m, err := server.NewMessageWith(server.Text, []byte("x"), server.MessageOptions{Receipt: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Push(t.Context(), "alice", m)
	push(t, srv, "alice", "end")
	c.want("x", "end")
	if r, err := srv.Receipt(t.Context(), m.Receipt()); err != nil || r.Written != 1 || r.Silent != 1 || r.Confirmed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
