package embed

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"testing"

	"fanfare/server"
)

func TestEvents(t *testing.T) {
	srv, err := server.New(server.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(t.Context())
	mount, err := newEvents(srv)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(mount)
	defer web.Close()
	resp, err := http.Get(web.URL + "/events?user=alice")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := srv.Push(t.Context(), "alice", server.NewMessage(server.Text, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if lines.Text() == "data: hello" {
			return
		}
	}
	t.Error("the message did not come")
}
