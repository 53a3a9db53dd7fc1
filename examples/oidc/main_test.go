package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/text/language"

	"fanfare/examples/internal/clients"
	"fanfare/server"
	"fanfare/server/auth"
)

func TestMain(m *testing.M) { clients.Main(m) }

const patience = 30 * time.Second

// provider is an OpenID provider of github.com/zitadel/oidc, whose service user sid1 gets
// access tokens that are JWTs. The test rotates its keys.
type provider struct {
	*storage.Storage
	*httptest.Server

	mu   sync.Mutex
	keys []key // the last one signs
}

type key struct {
	id      string
	private *rsa.PrivateKey
}

func (k key) ID() string                                { return k.id }
func (key) Algorithm() jose.SignatureAlgorithm          { return jose.RS256 }
func (key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (key) Use() string                                 { return "sig" }
func (k key) Key() any                                  { return &k.private.PublicKey }

// signingKey is a key as the provider signs with it.
type signingKey struct{ key }

func (k signingKey) Key() any { return k.private }

// jwtClient gets JWTs, not opaque tokens.
type jwtClient struct{ op.Client }

func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// These methods take the place of those of Storage.

func (p *provider) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := p.Storage.ClientCredentials(ctx, id, secret)
	return jwtClient{c}, err
}

func (p *provider) SigningKey(context.Context) (op.SigningKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return signingKey{p.keys[len(p.keys)-1]}, nil
}

func (p *provider) KeySet(context.Context) (all []op.Key, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.keys {
		all = append(all, k)
	}
	return all, nil
}

// rotate makes a new key, and keeps at most one old one.
func (p *provider) rotate(t *testing.T, id string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, key{id, private})
	p.keys = p.keys[max(0, len(p.keys)-2):]
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := new(provider)
	p.rotate(t, "first")
	web := httptest.NewUnstartedServer(nil)
	issuer := "http://" + web.Listener.Addr().String()
	p.Storage = storage.NewStorage(storage.NewUserStore(issuer))
	handler, err := op.NewProvider(&op.Config{CryptoKey: [32]byte{1}, CryptoKeyId: "1", SupportedUILocales: []language.Tag{language.English}},
		p, op.StaticIssuer(issuer), op.WithAllowInsecure())
	if err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = handler
	web.Start()
	t.Cleanup(web.Close)
	p.Server = web
	return p
}

// discover returns the URL of the provider's keys.
func (p *provider) discover(t *testing.T) string {
	t.Helper()
	var found oidc.DiscoveryConfiguration
	p.get(t, oidc.DiscoveryEndpoint, &found)
	return found.JwksURI
}

func (p *provider) get(t *testing.T, path string, into any) {
	t.Helper()
	resp, err := p.Client().Get(p.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// token asks the provider for an access token.
func (p *provider) token(t *testing.T) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"sid1"}, "client_secret": {"verysecret"}, "scope": {"openid"}}
	r, err := http.NewRequest(http.MethodPost, p.URL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("sid1", "verysecret")
	resp, err := p.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("%s: %v %s", resp.Status, err, answer.Error)
	}
	return answer.Token
}

// connect returns the status of a handshake, and the session if there is one.
func connect(t *testing.T, srv *server.Server, token string) (*websocket.Conn, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, "ws://"+srv.Addr().String()+"/ws?token="+token, nil)
	if resp == nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Cleanup(func() { c.CloseNow() })
	}
	return c, resp.StatusCode
}

// TestProvider: tokens of a real provider are accepted, across a rotation of its keys and
// an outage.
func TestProvider(t *testing.T) {
	p := startProvider(t)
	serve := func(audience string) *server.Server {
		t.Helper()
		set, err := auth.NewKeySet(auth.KeySetConfig{Source: p.discover(t), Issuer: p.URL, Audiences: []string{audience}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		srv, tokens, err := newServer("127.0.0.1:0", set)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tokens.Close)
		t.Cleanup(func() { srv.Shutdown(context.Background()) })
		if err := srv.Start(); err != nil {
			t.Fatal(err)
		}
		return srv
	}
	srv := serve("sid1")
	first := p.token(t)
	c, status := connect(t, srv, first)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", status)
	}
	if d, err := srv.Push(t.Context(), "sid1", server.NewMessage(server.Text, []byte("hello"))); err != nil || d.Receivers != 1 {
		t.Fatalf("pushed to %+v, %v", d, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, text, err := c.Read(ctx); string(text) != "hello" || err != nil {
		t.Errorf("received %q, %v", text, err)
	}
	if _, status := connect(t, serve("another"), first); status != http.StatusUnauthorized {
		t.Errorf("for another audience: %d", status)
	}

	// The server learns of a new key when a token names it.
	p.rotate(t, "second")
	second := p.token(t)
	if _, status := connect(t, srv, second); status != http.StatusSwitchingProtocols {
		t.Fatalf("after a rotation: %d", status)
	}
	if _, status := connect(t, srv, first); status != http.StatusSwitchingProtocols {
		t.Errorf("a token of the former key: %d", status)
	}

	p.Close()
	if _, status := connect(t, srv, second); status != http.StatusSwitchingProtocols {
		t.Errorf("while the provider is away: %d", status)
	}
	if _, status := connect(t, srv, second[:len(second)-8]+"AAAAAAAA"); status != http.StatusUnauthorized {
		t.Errorf("a forged token while the provider is away: %d", status)
	}
	if _, err := p.Client().Get(p.URL); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("the provider still answers: %v", err)
	}
}
