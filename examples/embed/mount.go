package embed

import (
	"context"
	"net/http"

	"fanfare/server"
)

func newMount(srv *server.Server) (*server.Mount, error) {
	return srv.Mount(server.Endpoint{
		Identifier: func(ctx context.Context, r *server.Request) (server.Identity, error) {
			user := userOf(r.Cookie("session"))
			if user == "" {
				return server.Identity{}, server.Reject(http.StatusUnauthorized, "no session")
			}
			return server.Identity{User: user, Topics: []string{"news"}}, nil
		},
		Dialects: []server.Dialect{server.Plain(), server.V1()},
		Hooks: server.Hooks{
			OnOpen: func(s *server.Session) { s.Send(server.Text, []byte("welcome, "+s.User())) },
			OnMessage: func(s *server.Session, op server.Op, payload []byte) {
				s.Send(op, payload) // payload is valid until the hook returns
			},
		},
	})
}

// userOf is where a program asks its database; here the cookie is the user.
func userOf(cookie string) string { return cookie }
