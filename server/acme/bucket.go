package acme

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/internal/natsconn"
)

const (
	bucketName = "fanfare-acme"
	// requestTimeout bounds one request to NATS.
	requestTimeout = 10 * time.Second
	// maxEntry is far above the size of a chain of certificates.
	maxEntry = 256 << 10
	maxBytes = 64 << 20
)

// bucket is a certmagic.Storage in a key-value bucket of JetStream, which nodes share. The
// key of an entry is made of its path, and that of a lock of "lock/" and its name.
type bucket struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
	log      *slog.Logger
	leases   leases
}

func openBucket(cfg *NATS, log *slog.Logger) (*bucket, error) {
	nc, err := natsconn.Connect(cfg.connection(log), natsconn.Handlers{})
	if err != nil {
		return nil, fmt.Errorf("acme: %w", err)
	}
	b := &bucket{nc: nc, replicas: max(cfg.Replicas, 1), log: log}
	b.leases.init(leaseTime)
	if b.js, err = jetstream.New(nc); err != nil {
		nc.Close()
		return nil, fmt.Errorf("acme: %w", err)
	}
	return b, nil
}

func (b *bucket) close() {
	b.leases.stop()
	b.nc.Close()
}

// kv returns the bucket, which it creates if there is none.
func (b *bucket) kv(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := b.js.KeyValue(ctx, bucketName)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: bucketName, Description: "Keys and certificates obtained by fanfare", Replicas: b.replicas,
			MaxValueSize: maxEntry, MaxBytes: maxBytes, Storage: jetstream.FileStorage,
		})
		if errors.Is(err, jetstream.ErrBucketExists) {
			kv, err = b.js.KeyValue(ctx, bucketName) // another node has created it
		}
	}
	if err != nil {
		return nil, fmt.Errorf("acme: NATS bucket %s: %w", bucketName, err)
	}
	return kv, nil
}

// use calls f with the bucket, within requestTimeout.
func (b *bucket) use(ctx context.Context, key string, f func(ctx context.Context, kv jetstream.KeyValue) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	kv, err := b.kv(ctx)
	if err == nil {
		err = f(ctx, kv)
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrNoKeysFound) {
		return &fs.PathError{Op: "read", Path: key, Err: fs.ErrNotExist} // certmagic asks for it
	}
	return err
}

// Store implements certmagic.Storage.
func (b *bucket) Store(ctx context.Context, key string, value []byte) error {
	return b.use(ctx, key, func(ctx context.Context, kv jetstream.KeyValue) error {
		_, err := kv.Put(ctx, escape(key), value)
		return err
	})
}

// Load implements certmagic.Storage.
func (b *bucket) Load(ctx context.Context, key string) (value []byte, err error) {
	err = b.use(ctx, key, func(ctx context.Context, kv jetstream.KeyValue) error {
		e, err := kv.Get(ctx, escape(key))
		if err == nil {
			value = e.Value()
		}
		return err
	})
	return value, err
}

// Delete implements certmagic.Storage: it deletes the entry, and all under it.
func (b *bucket) Delete(ctx context.Context, key string) error {
	return b.use(ctx, key, func(ctx context.Context, kv jetstream.KeyValue) error {
		names, err := under(ctx, kv, key)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := kv.Purge(ctx, escape(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Exists implements certmagic.Storage.
func (b *bucket) Exists(ctx context.Context, key string) bool {
	_, err := b.Stat(ctx, key)
	return err == nil
}

// Stat implements certmagic.Storage.
func (b *bucket) Stat(ctx context.Context, key string) (info certmagic.KeyInfo, err error) {
	err = b.use(ctx, key, func(ctx context.Context, kv jetstream.KeyValue) error {
		e, err := kv.Get(ctx, escape(key))
		if err == nil {
			info = certmagic.KeyInfo{Key: key, Modified: e.Created(), Size: int64(len(e.Value())), IsTerminal: true}
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyNotFound) {
			return err
		}
		names, err := under(ctx, kv, key)
		if err == nil && len(names) == 0 {
			err = jetstream.ErrKeyNotFound
		}
		info = certmagic.KeyInfo{Key: key}
		return err
	})
	return info, err
}

// List implements certmagic.Storage.
func (b *bucket) List(ctx context.Context, path string, recursive bool) (keys []string, err error) {
	err = b.use(ctx, path, func(ctx context.Context, kv jetstream.KeyValue) error {
		names, err := under(ctx, kv, path)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return jetstream.ErrKeyNotFound
		}
		keys = children(path, names, recursive)
		return nil
	})
	return keys, err
}

// under returns the names of the entry at a path and of all under it.
func under(ctx context.Context, kv jetstream.KeyValue, path string) (names []string, err error) {
	all, err := kv.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	for _, k := range all {
		if name, ok := unescape(k); ok && (path == "" || name == path || strings.HasPrefix(name, strings.TrimSuffix(path, "/")+"/")) && !strings.HasPrefix(name, lockPrefix) {
			names = append(names, name)
		}
	}
	return names, err
}

// children returns the names under a path: all of them if recursive, else those directly in it.
func children(path string, names []string, recursive bool) (keys []string) {
	prefix := strings.TrimSuffix(path, "/") + "/"
	if path == "" {
		prefix = ""
	}
	seen := map[string]bool{}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if first, _, _ := strings.Cut(rest, "/"); !recursive {
			name = prefix + first
		}
		if !seen[name] {
			seen[name] = true
			keys = append(keys, name)
		}
	}
	return keys
}

// plain are the characters that stand for themselves in a key of a bucket. Dots would
// separate tokens.
const plain = "-_/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func escape(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

func unescape(key string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		c := key[i]
		if c == '=' {
			if i+2 >= len(key) {
				return "", false
			}
			if _, err := fmt.Sscanf(key[i+1:i+3], "%02x", &c); err != nil {
				return "", false
			}
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

var _ certmagic.Storage = (*bucket)(nil)
