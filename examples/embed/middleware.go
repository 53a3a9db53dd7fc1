package embed

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"fanfare/server"
)

type userKey struct{}

// authenticate is the middleware that a program has for all its routes.
func authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil {
			http.Error(w, "no session", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, userOf(cookie.Value))))
	})
}

func afterMiddleware(mount *server.Mount) http.Handler {
	router := chi.NewRouter()
	router.Use(authenticate) // puts the user into the request's context
	router.Get("/ws", func(w http.ResponseWriter, r *http.Request) {
		user := r.Context().Value(userKey{}).(string)
		if err := mount.Upgrade(w, r, server.Identity{User: user}); err != nil {
			slog.Info("handshake rejected", "user", user, "err", err) // the client has its answer
		}
	})
	return router
}

// fromContext is an Identifier that finds what middleware has put into the context.
func fromContext(ctx context.Context, _ *server.Request) (server.Identity, error) {
	user, _ := ctx.Value(userKey{}).(string)
	if user == "" {
		return server.Identity{}, server.Reject(http.StatusUnauthorized, "no session")
	}
	return server.Identity{User: user}, nil
}
