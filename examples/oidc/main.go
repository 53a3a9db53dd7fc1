// Command oidc is a push server whose users are those of an identity provider: clients connect with
// an access token or an ID token of it, which is verified with the keys that the provider
// publishes.
//
//	go run ./oidc -issuer https://id.example.com -keys https://id.example.com/keys -audience push
//	npx wscat -c ws://127.0.0.1:8080/ws -H "Authorization: Bearer $TOKEN"
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fanfare/server"
	"fanfare/server/auth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var cfg auth.KeySetConfig
	flag.StringVar(&cfg.Source, "keys", "", "`URL` of the provider's keys: jwks_uri in its /.well-known/openid-configuration")
	flag.StringVar(&cfg.Issuer, "issuer", "", "the iss of its tokens")
	audience := flag.String("audience", "", "what their aud must contain: tokens for other services are rejected")
	flag.Parse()
	if *audience == "" {
		log.Fatal("want -audience")
	}
	cfg.Audiences = []string{*audience}
	set, err := auth.NewKeySet(cfg)
	if err != nil {
		log.Fatal(err)
	}
	srv, tokens, err := newServer("127.0.0.1:8080", set)
	if err != nil {
		log.Fatal(err)
	}
	defer tokens.Close()
	log.Print("listening at ws://127.0.0.1:8080/ws")
	if err := srv.Run(ctx, 10*time.Second); err != nil {
		log.Fatal(err)
	}
}

// newServer returns a server whose sessions belong to the subjects of tokens. The keys are
// fetched from now on until tokens is closed.
func newServer(listen string, set *auth.KeySet) (srv *server.Server, tokens *auth.Tokens, err error) {
	tokens = auth.NewTokens(&auth.Keys{
		Sets:         []*auth.KeySet{set},
		Leeway:       auth.DefaultLeeway,
		CloseExpired: true, // a session ends with its token
	})
	endpoint := server.PushEndpoint("/ws")
	endpoint.Identifier, endpoint.Insecure = tokens.Identify, false
	if srv, err = server.New(server.Config{Listen: listen, Endpoints: []server.Endpoint{endpoint}}); err != nil {
		tokens.Close()
	}
	return srv, tokens, err
}
