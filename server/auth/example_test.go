package auth_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"fanfare/server"
	"fanfare/server/auth"
)

// A server whose clients prove who they are with a token that the backend has signed
// with a shared secret.
func Example() {
	dir, err := os.MkdirTemp("", "auth")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte("an-example-secret-of-at-least-32-bytes\n"), 0o600); err != nil {
		panic(err)
	}

	keys, err := auth.LoadKeys(file)
	if err != nil {
		panic(err)
	}
	keys.Issuer = "https://backend.example"
	keys.CloseExpired = true

	endpoint := server.PushEndpoint("/ws")
	endpoint.Identifier, endpoint.Insecure = auth.JWT(keys), false
	srv, err := server.New(server.Config{
		Endpoints: []server.Endpoint{endpoint},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(context.Background())
	fmt.Println(srv.Config().Endpoints[0].Credentials())
	// Output: token
}
