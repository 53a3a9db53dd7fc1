package js_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanfare/server"
)

// TestTokenExpires: the client connects with a new token when a server has closed with
// 3000, and learns from a server why a handshake was rejected.
func TestTokenExpires(t *testing.T) {
	needBuild(t)
	ep := server.PushEndpoint("/ws")
	ep.Insecure = false
	ep.Identifier = func(_ context.Context, r *server.Request) (server.Identity, error) {
		switch r.Query("token") {
		case "1":
			return server.Identity{User: "bob", Expires: time.Now()}, nil
		case "2":
			return server.Identity{User: "bob"}, nil
		}
		return server.Identity{}, server.Reject(400, "not a token of this server")
	}
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Endpoints: []server.Endpoint{ep}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		srv.Shutdown(ctx)
	}()
	program := `
import {Client} from "./dist/index.js";
let token = 0;
const client = new Client({url: "ws://` + srv.Addr().String() + `/ws", token: async () => String(++token), minDelay: 1});
client.on("error", e => console.log(e.kind, e.code ?? e.status + " " + e.text, e.final));
client.on("state", s => { if (s.state === "open" && token === 2) client.close(); });
client.on("state", s => { if (s.state === "closed" && token === 2) client.connect(); });
client.connect();
`
	if err := os.WriteFile(filepath.Join(directory, "tokens.mjs"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"node", "--no-warnings", "tokens.mjs"}
	if exec.Command("node", "-e", "if (typeof WebSocket !== 'function') process.exit(1)").Run() != nil {
		args = []string{"node", "--no-warnings", "--experimental-websocket", "tokens.mjs"} // before version 22
	}
	want := "close 3000 false\nhandshake 400 not a token of this server true\n"
	if out := command(t, directory, args...); strings.TrimSpace(out) != strings.TrimSpace(want) {
		t.Errorf("the program printed %q, want %q", out, want)
	}
}
