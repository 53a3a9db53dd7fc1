package servers

import (
	"fmt"
	"path/filepath"
	"time"

	"fanfare/bench/load"
)

// Variants lists fanfare with what the libraries have nothing to compare with, and so All does not have them. With
// store and tokens it is fanfareDefault.
func (c Catalog) Variants() []Spec {
	version := Version(c.Fanfare)
	secured := c.fanfare("epoll", version)
	secured.Name, secured.About, secured.Secure = "fanfare-wss", "fanfare with TLS 1.3 in scenarios without, to compare with fanfare-epoll", true
	return []Spec{
		secured,
		c.variant("store", "its embedded store", version, true, false),
		c.variant("tokens", "HS256 tokens", version, false, true),
	}
}

// variant is fanfare with a store, or with tokens that permit every topic.
func (c Catalog) variant(name, about, version string, stores, tokens bool) Spec {
	spec := Spec{
		Name:    "fanfare-" + name,
		About:   "fanfare with " + about,
		Version: version,
		Args: func(a Addresses, ping time.Duration) []string {
			args := append(c.serve(a, ping), "--data-dir")
			if stores {
				args = append(args, filepath.Join(a.Dir, "data"))
			} else {
				args = append(args, "none")
			}
			if tokens {
				args = append(args, "--auth", "jwt", "--jwt-key-file", filepath.Join(a.Dir, secretFile))
			}
			return args
		},
		Files: func(Addresses, time.Duration, Credentials) map[string]string {
			return map[string]string{secretFile: secret}
		},
		Pushes: true,
		TLS:    true,
	}
	if tokens {
		spec.Credentials = fanfareTokens("*")
	}
	return spec
}

// secretFile has the secret that signs tokens.
const secretFile = "jwt-secret"

// fanfareTokens returns tokens of fanfare with a topic.
func fanfareTokens(topic string) func() (Credentials, error) {
	return func() (Credentials, error) {
		return Credentials{Token: hs256(secret, func(user string) string {
			return fmt.Sprintf(`{"sub":%q,"exp":%d,"topics":[%q]}`, user, time.Now().Add(tokenLife).Unix(), topic)
		})}, nil
	}
}

// fanfareDefault is fanfare as an operator runs it: with tokens, an API key and its default store.
func (c Catalog) fanfareDefault(version string) Spec {
	spec := c.variant("default", "HS256 tokens, an API key and its default store, where every session is subscribed to one topic", version, true, true)
	args := spec.Args
	spec.Args = func(a Addresses, ping time.Duration) []string {
		return append(args(a, ping), "--api-key-file", filepath.Join(a.Dir, "api-keys"))
	}
	spec.Credentials = fanfareTokens(load.AllChannel)
	spec.Files = func(Addresses, time.Duration, Credentials) map[string]string {
		return map[string]string{secretFile: secret, "api-keys": apiKey}
	}
	spec.Product = &Product{
		Path:    "/ws?token={token}",
		Events:  "/sse?token={token}",
		Backend: FanfareBackend,
		Counts:  true,
		Lacks:   map[string]string{"echo": "fanfare with tokens and its store has the same echo as without; see fanfare-epoll"},
	}
	return spec
}
