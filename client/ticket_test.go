package client

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestTicket: what a client presents after each end of a session that had a ticket.
func TestTicket(t *testing.T) {
	const ticket, token = "Ticket T1", "Bearer t2"
	for _, test := range []struct {
		name string
		end  error
		then error // of the next handshake
		want []string
	}{
		{"the server leaves", &CloseError{Code: 1001}, nil, []string{ticket}},
		{"it restarts", &CloseError{Code: 1012}, nil, []string{ticket}},
		{"the connection is lost", &CloseError{Code: 1006}, nil, []string{ticket}},
		{"the server is full", &CloseError{Code: 1001}, &HandshakeError{Status: 503}, []string{ticket, ticket}},
		{"too many handshakes", &CloseError{Code: 1001}, &HandshakeError{Status: 429}, []string{ticket, ticket}},
		{"no answer", &CloseError{Code: 1001}, &HandshakeError{}, []string{ticket, ticket}},
		{"the ticket has ended", &CloseError{Code: 1001}, &HandshakeError{Status: 401}, []string{ticket, token}},
		{"the node has no tickets", &CloseError{Code: 1001}, &HandshakeError{Status: 400}, []string{ticket, token}},
		{"it is not allowed any more", &CloseError{Code: 1001}, &HandshakeError{Status: 403}, []string{ticket, token}},
		{"the token has ended", &CloseError{Code: 3000}, nil, []string{token}},
		{"closed by the application", &CloseError{Code: 4000}, nil, []string{token}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				srv := run(t, Config{Token: func(context.Context) (string, error) { calls++; return fmt.Sprint("t", calls), nil }}, nil)
				if got := srv.last().header.Get("Authorization"); got != "Bearer t1" {
					t.Fatalf("the first handshake has %q", got)
				}
				srv.say(`{"type":"hello","user":"bob","ticket":"T0"}`, `{"type":"refresh","ticket":"T1"}`, `{"type":"hello","user":"bob"}`)
				var seen []string
				dial := srv.c.dial
				srv.c.dial = func(ctx context.Context, url string, header http.Header, heard func()) (conn, error) {
					seen = append(seen, header.Get("Authorization"))
					return dial(ctx, url, header, heard)
				}
				if test.then != nil {
					srv.mu.Lock()
					srv.fails = append(srv.fails, test.then)
					srv.mu.Unlock()
				}
				srv.last().fail(test.end)
				time.Sleep(time.Minute)
				synctest.Wait()
				srv.end()
				if fmt.Sprint(seen[:len(test.want)]) != fmt.Sprint(test.want) {
					t.Errorf("presented %q, want %q", seen, test.want)
				}
			})
		})
	}
}
