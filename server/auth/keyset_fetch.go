package auth

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fanfare/server/internal/callout"
)

// open prepares the source of a set, and reads it if it is a file.
func (ks *KeySet) open() error {
	if !strings.Contains(ks.cfg.Source, "://") {
		if ks.cfg.CA != "" || ks.cfg.InsecureHTTP {
			return errors.New("it is a file: settings of the connection have no effect")
		}
		data, err := callout.ReadFile(ks.cfg.Source, maxKeysFile)
		if err != nil {
			return err
		}
		keys, err := parseJWKS(data, true)
		if err != nil {
			return err
		}
		ks.replace(keys)
		return nil
	}
	client, err := callout.Target{URL: ks.cfg.Source, CA: ks.cfg.CA, InsecureHTTP: ks.cfg.InsecureHTTP}.Client(0) // minutes pass between requests
	if err != nil {
		return err
	}
	ks.fetch = func(ctx context.Context) ([]byte, time.Duration, error) { return get(ctx, client, ks.cfg.Source) }
	return nil
}

// get fetches a key set, and returns how long the answer is fresh; 0: it does not say.
func get(ctx context.Context, client *http.Client, u string) ([]byte, time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json") // RFC 7517 section 8.5.2
	data, header, err := callout.Do(client, r, maxKeysFile)
	return data, freshFor(header), err
}

// freshFor returns the max-age of an answer, less its age (RFC 9111 sections 4.2.3 and
// 5.2.2.1).
func freshFor(h http.Header) time.Duration {
	for field := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
		if err != nil {
			return 0
		}
		age, _ := strconv.ParseUint(h.Get("Age"), 10, 31)
		return max(time.Duration(n)-time.Duration(age), 1) * time.Second
	}
	return 0
}
