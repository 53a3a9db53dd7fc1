package api

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server"
)

// answerPing reads a ping and answers it.
func (c *wsClient) answerPing() {
	c.t.Helper()
	h, err := ws.ReadHeader(c)
	if err != nil || h.OpCode != ws.OpPing || h.Length > ws.MaxControlFramePayloadSize {
		c.t.Fatalf("want a ping: %+v, %v", h, err)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(c, payload); err != nil {
		c.t.Fatal(err)
	}
	if err := ws.WriteFrame(c.Conn, ws.MaskFrameInPlace(ws.NewPongFrame(payload))); err != nil {
		c.t.Fatal(err)
	}
}

func TestReceipt(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	c := s.connect("/ws?user=a&topic=t")
	for _, test := range []struct{ path, body string }{
		{"/v1/users/a/push?receipt=true", "x"},
		{"/v1/topics/t/push?receipt=1&conflate=k", "x"},
		{"/v1/broadcast?receipt=true", "x"},
		{"/v1/broadcast?receipt=true&over=100ms", "x"},
		{"/v1/push", `{"topics":["t"],"receipt":true,"text":"x"}`},
		{"/v1/batch", `{"users":["a"],"receipt":true,"text":"x"}`},
	} {
		got := s.call("POST", test.path, test.body)
		var answer struct{ Receipt string }
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status != 200 || answer.Receipt == "" {
			t.Fatalf("%s: %s", test.path, got)
		}
		c.expect(ws.OpText, "x")
		c.answerPing()
		var r receiptAnswer
		for deadline := time.Now().Add(patience); r.Confirmed == 0; time.Sleep(time.Millisecond) {
			got := s.call("GET", "/v1/receipts/"+answer.Receipt, "")
			if err := json.Unmarshal([]byte(got.body), &r); err != nil || got.status != 200 || time.Now().After(deadline) {
				t.Fatalf("%s: %s", test.path, got)
			}
		}
		if r.ID != answer.Receipt || r.Written != 1 || r.Confirmed != 1 || r.Silent != 0 || r.Final || !r.Complete || r.RoundTrips == nil || r.RoundTrips.P99 <= 0 {
			t.Errorf("%s: %+v", test.path, r)
		}
	}
	for _, test := range []struct{ path, body, want string }{
		{"/v1/broadcast?receipt=", "x", `bad_query receipt is "": want true or false`},
		{"/v1/broadcast?receipt=yes", "x", `bad_query receipt is "yes": want true or false`},
		{"/v1/users/a/push?durable=true&receipt=true", "x", "bad_query receipt does not apply to a stored message"},
		{"/v1/push", `{"users":["a"],"durable":true,"receipt":true,"text":"x"}`, "bad_document exclude_users"},
	} {
		got := s.call("POST", test.path, test.body)
		code, message, _ := strings.Cut(test.want, " ")
		if got.status != 400 || got.errorCode() != code || !strings.Contains(strings.ReplaceAll(got.body, `\"`, `"`), message) {
			t.Errorf("%s: %s, want %s", test.path, got, test.want)
		}
	}
	for _, path := range []string{"/v1/push", "/v1/broadcast?receipt=false"} {
		if got := s.call("POST", path, `{"broadcast":true,"receipt":false,"text":"y"}`); got.body != receivers(1) {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := s.call("GET", "/v1/receipts/x", ""); got.status != 404 || got.errorCode() != "not_found" {
		t.Errorf("an unknown receipt: %s", got)
	}
}
