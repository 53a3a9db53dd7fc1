package settings

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/frame"
	"fanfare/server"
	"fanfare/server/acme"
	"fanfare/server/api"
	"fanfare/server/cluster"
	"fanfare/server/connecthook"
	"fanfare/server/inbox"
	"fanfare/server/messagehook"
	"fanfare/server/messagenats"
	"fanfare/server/presence"
	"fanfare/server/revoke"
	"fanfare/server/ticket"
	"fanfare/server/webhook"
)

// cli is the program with the one command that has these settings.
type cli struct {
	Serve Serve `cmd:""`
}

// parseServe parses the flags of serve without running it.
func parseServe(t *testing.T, args ...string) *Serve {
	t.Helper()
	var c cli
	if _, err := Parse(&c, append([]string{"serve"}, args...), &c.Serve); err != nil {
		t.Fatal(err)
	}
	return &c.Serve
}

// TestSources: command line before environment before config file before default.
func TestSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fanfare.json")
	text := `{"ping-interval": "1m", "ping-timeout": "2m", "close-timeout": "3m", "max-payload": 1048577, "queue-bytes": "128KiB",
		"allow-origin": ["https://a.example", "https://b.example"], "pprof": true, "max-connections": 10, "log-level": "warn"}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FANFARE_CONFIG", file)
	t.Setenv("FANFARE_PING_INTERVAL", "4m")
	t.Setenv("FANFARE_PING_TIMEOUT", "5m")
	got := parseServe(t, "--ping-interval=6m")
	want := parseDefaults(t)
	want.given = given{}
	for name := range strings.FieldsSeq("config ping-interval ping-timeout close-timeout max-payload queue-bytes allow-origin pprof max-connections log-level") {
		want.given[name] = true
	}
	want.Config = ConfigFile(file)
	want.PingInterval = 6 * time.Minute
	want.PingTimeout = 5 * time.Minute
	want.CloseTimeout = 3 * time.Minute
	want.MaxPayload = 1048577
	want.QueueBytes = 128 << 10
	want.AllowOrigin = []string{"https://a.example", "https://b.example"}
	want.Pprof = true
	want.MaxConnections = 10
	want.LogLevel = level(slog.LevelWarn)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// parseDefaults parses no flags, without the environment of a test.
func parseDefaults(t *testing.T) *Serve {
	t.Helper()
	for _, name := range []string{"FANFARE_CONFIG", "FANFARE_PING_INTERVAL", "FANFARE_PING_TIMEOUT"} {
		if value, ok := os.LookupEnv(name); ok {
			os.Unsetenv(name)
			defer os.Setenv(name, value)
		}
	}
	return parseServe(t)
}

// TestTrustedProxy: a single address is a network, too.
func TestTrustedProxy(t *testing.T) {
	got := parseServe(t, "--trusted-proxy=10.0.0.0/8", "--trusted-proxy=192.0.2.1", "--trusted-proxy=2001:db8::1").TrustedProxy
	if s := fmt.Sprint(prefixes(got)); s != "[10.0.0.0/8 192.0.2.1/32 2001:db8::1/128]" {
		t.Error(s)
	}
}

func TestRepeatedFlag(t *testing.T) {
	got := parseServe(t, "--allow-origin=https://a.example", "--allow-origin", "*").AllowOrigin
	if want := []string{"https://a.example", "*"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// selfSigned writes a certificate and its key.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestEveryFieldHasAFlag: what can be configured in a program that embeds the server can
// be configured here, except for what the program itself decides.
func TestEveryFieldHasAFlag(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	cert, key := selfSigned(t)
	cmd := parseServe(t, "--tls-cert="+cert, "--tls-key="+key, "--pprof", "--listen=0.0.0.0:0", "--insecure-identity", "--allow-origin=*", "--trusted-proxy=10.0.0.0/8", "--forwarded", "--proxy-protocol=10.0.0.0/8", "--max-connections=7", "--transport=epoll",
		"--durable-topic=a", "--presence-topic=b", "--data-dir="+t.TempDir(), "--inbox-positions=1MiB", "--inbox-window=1m", "--inbox-accept-loss", "--drain-delay=1s", "--sessions-full=close-oldest")
	cfg, err := cmd.config(new(Plan), log)
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := cmd.store(1<<20, log)
	if err != nil {
		t.Fatal(err)
	}
	outside := parseServe(t, "--nats=a", "--nats-creds=b", "--nats-ca=c", "--nats-cert=d", "--nats-key=e", "--node-name=f")
	other, err := outside.store(1<<20, log)
	if err != nil {
		t.Fatal(err)
	}
	managed := []string{"--acme-domain=a.test", "--acme-agree", "--acme-email=a@b.test", "--acme-ca=https://a.test", "--acme-ca-root=" + cert, "--acme-http=127.0.0.1:80"}
	alone, err := parseServe(t, append(managed, "--data-dir="+t.TempDir())...).acme(embedded, log)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := parseServe(t, append(managed, "--nats=a")...).acme(other, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		configs []any
		except  string
	}{
		{[]any{*alone, *shared}, "renewalRatio renewalCheck"}, // of its tests
		{[]any{cfg}, "Fallback Store Cluster Observer Escalator Revocations Started Version " + // set by assemble and prepareTakeOver
			"Identifiers OtherDescriptors"}, // set with hooks
		{[]any{*embedded, *other}, "Timeout StopTimeout"},
		{[]any{*outside.cluster(log)}, "Timeout"},
	} {
		for i := range reflect.TypeOf(test.configs[0]).NumField() {
			f := reflect.TypeOf(test.configs[0]).Field(i)
			set := slices.Contains(strings.Fields(test.except), f.Name)
			for _, c := range test.configs {
				set = set || !reflect.ValueOf(c).Field(i).IsZero()
			}
			if !set {
				t.Errorf("%T.%s is set by no flag", test.configs[0], f.Name)
			}
		}
	}
}

// TestFlagOfFields: every entry of the table is a flag of serve and, as far as its package
// has one Config, a field of it.
func TestFlagOfFields(t *testing.T) {
	flags := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Serve]()) {
		flags[flagName(f)] = true
	}
	types := map[string][]reflect.Type{
		"server":      {reflect.TypeFor[server.Config](), reflect.TypeFor[server.Endpoint](), reflect.TypeFor[frame.Rules]()},
		"api":         {reflect.TypeFor[api.Config]()},
		"connecthook": {reflect.TypeFor[connecthook.Config]()},
		"messagehook": {reflect.TypeFor[messagehook.Config]()},
		"messagenats": {reflect.TypeFor[messagenats.Config]()},
		"inbox":       {reflect.TypeFor[inbox.Config]()},
		"cluster":     {reflect.TypeFor[cluster.Config]()},
		"acme":        {reflect.TypeFor[acme.Config](), reflect.TypeFor[acme.NATS]()},
		"webhook":     {reflect.TypeFor[webhook.Config]()},
		"presence":    {reflect.TypeFor[presence.Config]()},
		"ticket":      {reflect.TypeFor[ticket.Config]()},
		"revoke":      {reflect.TypeFor[revoke.Config]()},
	}
	for field, flag := range flagOf {
		if !flags[flag] {
			t.Errorf("%s: --%s is not a flag", field, flag)
		}
		pkg, name, _ := strings.Cut(field, ".")
		name, inner, nested := strings.Cut(name, ".")
		found := false
		for _, typ := range types[pkg] {
			f, ok := typ.FieldByName(name)
			if ok && nested {
				_, ok = f.Type.FieldByName(inner)
			}
			found = found || ok
		}
		if !found {
			t.Errorf("%s is not a field", field)
		}
	}
	// Limits, and where flags have another name, were forgotten most easily.
	for i := range reflect.TypeFor[server.Config]().NumField() {
		f := reflect.TypeFor[server.Config]().Field(i)
		if k := f.Type.Kind(); (k == reflect.Int || k == reflect.Int64) && flagOf["server."+f.Name] == "" && f.Name != "OtherDescriptors" { // follows from several flags
			t.Errorf("server.%s has no entry", f.Name)
		}
	}
}

// TestInFlags: errors of libraries name flags.
func TestInFlags(t *testing.T) {
	_, err := server.New(server.Config{PingInterval: 1, Endpoints: []server.Endpoint{
		{Path: "/a", Rules: frame.Rules{MaxMessage: -1}}, {Path: "/b", Rules: frame.Rules{MaxMessage: -1}}}})
	if err == nil {
		t.Fatal("no error")
	}
	const library = "server: PingInterval is 1ns: want 100ms to 24h\n" +
		"endpoint /a: MaxMessage is -1: want 1 to 1073741824, or 0 for the default of 65536\n" +
		"endpoint /b: MaxMessage is -1: want 1 to 1073741824, or 0 for the default of 65536"
	if got := err.Error(); got != library {
		t.Errorf("got  %s\nwant %s", got, library)
	}
	worded := InFlags("server", err)
	const want = "--ping-interval is 1ns: want 100ms to 24h; --max-message is -1: want 1 to 1073741824"
	if got := strings.ReplaceAll(worded.Error(), "\n", "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !errors.Is(worded, err) {
		t.Error("the cause is lost")
	}
	if got := InFlags("server", errors.New("server: any other")).Error(); got != "any other" {
		t.Error(got)
	}
}

// TestCompressionFlags: every field of frame.Deflate has a flag.
func TestCompressionFlags(t *testing.T) {
	cfg, err := parseServe(t, "--compression", "--compression-level=9", "--compression-context=12").config(new(Plan), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	want := frame.Rules{MaxMessage: 64 << 10, Deflate: frame.Deflate{Level: 9, MinSize: 256, MaxRatio: 100, ContextBits: 12}}
	for _, ep := range cfg.Endpoints {
		if !ep.Compress || ep.Rules != want {
			t.Errorf("%s: %v, %+v, want %+v", ep.Path, ep.Compress, ep.Rules, want)
		}
		d := reflect.ValueOf(ep.Rules.Deflate)
		for i := range d.NumField() {
			if d.Field(i).IsZero() {
				t.Errorf("frame.Deflate.%s is set by no flag", d.Type().Field(i).Name)
			}
		}
	}
}

// TestRateFlags: all endpoints have the limits.
func TestRateFlags(t *testing.T) {
	cfg, err := parseServe(t, "--listen=0.0.0.0:0", "--insecure-identity", "--echo", "--max-message-rate=7", "--max-byte-rate=1KiB").config(new(Plan), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, ep := range cfg.Endpoints {
		if want := (server.Rate{Messages: 7, Bytes: 1 << 10}); ep.Rate != want {
			t.Errorf("%s: %+v, want %+v", ep.Path, ep.Rate, want)
		}
	}
	// Clients reach an echo endpoint on loopback through a proxy, too: only in development
	// it has no limit.
	for _, test := range []struct {
		args      []string
		unlimited bool
	}{{nil, true}, {[]string{"--echo"}, true}, {[]string{"--echo", "--trusted-proxy=127.0.0.1"}, false}} {
		cfg, err := parseServe(t, test.args...).config(new(Plan), slog.New(slog.DiscardHandler))
		if err != nil || len(cfg.Endpoints) != 3 || cfg.Endpoints[2].Rate.UnlimitedOnLoopback != test.unlimited {
			t.Errorf("%v: %+v, %v", test.args, cfg.Endpoints, err)
		}
	}
}

// TestDefaultsAreTheServers: the flags repeat the server's defaults, to show them in the
// help. The server accepts them.
func TestDefaultsAreTheServers(t *testing.T) {
	cfg, err := parseServe(t, "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--data-dir="+t.TempDir()).config(new(Plan), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
